from django.db import migrations, models

from billing_project.kernel.guards import ROW, TRUNCATE, facts_with_state

COLUMNS = ("name", "time_zone", "country", "email")
NO_GUARD = f"DROP TRIGGER {ROW} ON customer; DROP TRIGGER {TRUNCATE} ON customer"


class Migration(migrations.Migration):
    """Customers that are closed: no credits are given to them."""

    dependencies = [
        ('metering', '0016_failing_quarantine_run'),
    ]
    operations = [
        migrations.AddField(
            model_name='customer',
            name='closed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='historicalcustomer',
            name='closed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(NO_GUARD, facts_with_state("customer", *COLUMNS).sql),
        facts_with_state("customer", *COLUMNS, "closed_at"),
    ]
