from django.db import migrations, models

_FILL = [
    "ALTER TABLE recurring_grant DISABLE TRIGGER keep_rows",
    "UPDATE recurring_grant r SET time_zone = c.time_zone FROM customer c"
    " WHERE c.id = r.customer_id",
    # A table with a foreign key that waits for its check is not altered.
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET CONSTRAINTS ALL DEFERRED",
    "ALTER TABLE recurring_grant ENABLE ALWAYS TRIGGER keep_rows",
]


class Migration(migrations.Migration):
    """The time zone in which the periods of a recurring grant begin, kept for good."""

    dependencies = [("credits", "0019_forgiven_usage"), ("metering", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="recurringgrant",
            name="time_zone",
            field=models.CharField(max_length=64, null=True),
        ),
        migrations.RunSQL(_FILL, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="recurringgrant",
            name="time_zone",
            field=models.CharField(max_length=64),
        ),
    ]
