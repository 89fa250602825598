from django.db import migrations, models

from billing_project.kernel.guards import ROW, TRUNCATE, facts_with_state

COLUMNS = ("name", "time_zone", "country", "email", "closed_at")
NO_GUARD = f"DROP TRIGGER {ROW} ON customer; DROP TRIGGER {TRUNCATE} ON customer"


def _locale():
    return models.CharField(blank=True, db_default="", max_length=35)


class Migration(migrations.Migration):
    """How figures are written for a customer."""

    dependencies = [("metering", "0027_late_events_are_finances")]
    operations = [
        migrations.AddField("customer", "locale", _locale()),
        migrations.AddField("historicalcustomer", "locale", _locale()),
        migrations.RunSQL(NO_GUARD, facts_with_state("customer", *COLUMNS).sql),
        facts_with_state("customer", *COLUMNS, "locale"),
    ]
