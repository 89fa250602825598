from django.db import migrations

# Periods whose overage was invoiced before metering kept the fact.
RECORD = """
INSERT INTO invoiced_usage (customer_id, end_at, source_key, recorded_at)
SELECT p.customer_id, p.end_at, 'billing_period:' || p.id, min(i.finalized_at)
FROM billing_period p
JOIN invoice_line l ON l.billing_period_id = p.id AND l.kind = 'overage'
JOIN invoice i ON i.id = l.invoice_id AND i.finalized_at IS NOT NULL
GROUP BY p.id ORDER BY p.id
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    """Tell metering which periods are invoiced."""

    dependencies = [
        ("invoicing", "0003_number_series"),
        ("credits", "0002_guards"),
        ("metering", "0003_late_events"),
    ]
    operations = [migrations.RunSQL(RECORD, migrations.RunSQL.noop)]
