from decimal import Decimal

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Credits that are proposed to go back, as money is proposed to come off."""

    dependencies = [("invoicing", "0040_mirror_ends")]
    operations = [
        migrations.AddField(
            "proposedcreditnote",
            "restored_credits",
            models.DecimalField(
                max_digits=38, decimal_places=12, default=Decimal(0), db_default=0
            ),
        ),
        migrations.RemoveConstraint("proposedcreditnote", "proposed_credit_note_amount_positive"),
        migrations.AddConstraint(
            "proposedcreditnote",
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, restored_credits=0)
                | Q(amount_minor=0, restored_credits__gt=0, restored_credits__lt=10**24),
                name="proposed_credit_note_money_or_credits",
            ),
        ),
    ]
