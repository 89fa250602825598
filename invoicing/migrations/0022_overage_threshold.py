from django.db import migrations, models


class Migration(migrations.Migration):
    """When a plan's periods begin, and at which overage they are invoiced before their end."""

    dependencies = [
        ('credits', '0015_period_cut'),
        ('invoicing', '0021_coupon'),
        ('kernel', '0009_own_search_path'),
    ]

    operations = [
        migrations.AddField(
            model_name='planversion',
            name='threshold_minor',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='planversion',
            constraint=models.CheckConstraint(condition=models.Q(('threshold_minor__isnull', True), ('threshold_minor__gt', 0), _connector='OR'), name='plan_version_threshold_positive'),
        ),
        migrations.AddField(
            model_name="planversion",
            name="anchor",
            field=models.CharField(
                choices=[("start", "Start"), ("calendar", "Calendar")],
                db_default="start",
                default="start",
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="planversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("anchor", "start"),
                    models.Q(("anchor", "calendar"), ("interval_unit", "month")),
                    _connector="OR",
                ),
                name="plan_version_calendar_of_months",
            ),
        ),
    ]
