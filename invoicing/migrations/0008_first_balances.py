from django.db import migrations

# What notes owed back before balances had rows of their own.
FIRST = """
INSERT INTO customer_balance (customer_id, currency, balance_minor)
SELECT i.customer_id, n.currency, sum(n.balance_minor)
FROM credit_note n JOIN invoice i ON i.id = n.invoice_id
WHERE n.balance_minor > 0
GROUP BY i.customer_id, n.currency
"""


class Migration(migrations.Migration):
    """Give each customer the balance that their notes left."""

    dependencies = [("invoicing", "0007_note_settlement")]
    operations = [migrations.RunSQL(FIRST, "DELETE FROM customer_balance")]
