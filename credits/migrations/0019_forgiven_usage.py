from decimal import Decimal

from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    """What credit notes gave back for usage that stays charged."""

    dependencies = [("credits", "0018_alert_told")]
    operations = [
        migrations.RemoveConstraint(model_name="ratedusage", name="rated_usage_parts_sum"),
        migrations.AddField(
            model_name="ratedusage",
            name="forgiven",
            field=models.DecimalField(
                db_default=0, decimal_places=12, default=Decimal(0), max_digits=38
            ),
        ),
        migrations.AddConstraint(
            model_name="ratedusage",
            constraint=models.CheckConstraint(
                condition=models.Q(("charge", F("drawn") + F("overage") + F("forgiven"))),
                name="rated_usage_parts_sum",
            ),
        ),
        migrations.AddConstraint(
            model_name="ratedusage",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("forgiven__gt", -(10**26)), ("forgiven__lt", 10**26)
                ),
                name="rated_usage_forgiven_bounds",
            ),
        ),
    ]
