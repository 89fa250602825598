from decimal import Decimal
from pathlib import Path

from django.db import migrations, models
from django.db.models import F, Q

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


def _credits():
    return models.DecimalField(max_digits=38, decimal_places=12, default=Decimal(0), db_default=0)


class Migration(migrations.Migration):
    """Credits that notes give back to the grants that paid."""

    dependencies = [("invoicing", "0032_customer_address"), ("credits", "0019_forgiven_usage")]
    operations = [
        migrations.AddField("creditnote", "restored_credits", _credits()),
        migrations.AddField("creditnoteline", "restored_credits", _credits()),
        migrations.RemoveConstraint("creditnote", "credit_note_settlement_sums"),
        migrations.AddConstraint(
            "creditnote",
            models.CheckConstraint(
                condition=Q(
                    total_minor__gte=0, open_minor__gte=0, balance_minor__gte=0,
                    refund_minor__gte=0, out_of_band_minor__gte=0,
                )
                & Q(
                    total_minor=F("open_minor") + F("balance_minor") + F("refund_minor")
                    + F("out_of_band_minor"),
                ),
                name="credit_note_settlement_sums",
            ),
        ),
        migrations.AddConstraint(
            "creditnote",
            models.CheckConstraint(
                condition=Q(restored_credits=0, total_minor__gt=0)
                | Q(restored_credits__gt=0, restored_credits__lt=10**24),
                name="credit_note_gives_something",
            ),
        ),
        migrations.RemoveConstraint("creditnoteline", "credit_note_line_amount_positive"),
        migrations.AddConstraint(
            "creditnoteline",
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, restored_credits=0)
                | Q(amount_minor=0, restored_credits__gt=0, restored_credits__lt=10**24),
                name="credit_note_line_money_or_credits",
            ),
        ),
        migrations.RunSQL(
            (SQL / "restored_credits.sql").read_text(),
            (SQL / "restored_credits_back.sql").read_text(),
        ),
        own_search_path("credit_note_line_restores", "credit_note_restores"),
    ]
