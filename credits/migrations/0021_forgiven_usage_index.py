from django.db import migrations, models


class Migration(migrations.Migration):
    """The few rows that credit notes forgave, to be found without reading all."""

    dependencies = [("credits", "0020_rule_time_zone")]
    operations = [
        migrations.AddIndex(
            "ratedusage",
            models.Index(
                fields=["id"], condition=models.Q(("forgiven__gt", 0)), name="rated_usage_forgiven"
            ),
        )
    ]
