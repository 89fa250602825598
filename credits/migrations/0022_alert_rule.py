import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, needs_approved

_STATE = "'acknowledged_at', 'acknowledged_by_id', 'note', 'told_at'"


def _keeping(columns):
    return [
        "DROP TRIGGER keep_rows ON alert",
        "CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON alert FOR EACH ROW"
        f" EXECUTE FUNCTION kernel_refuse_other_changes({columns})",
        "ALTER TABLE alert ENABLE ALWAYS TRIGGER keep_rows",
    ]


class Migration(migrations.Migration):
    """Rules that raise alerts; who looks after an alert, and when its state was over."""

    dependencies = [
        ('credits', '0021_forgiven_usage_index'),
        ('kernel', '0010_webhook'),
        ('metering', '0028_customer_locale'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='alert',
            name='ended_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='alert',
            name='owner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=[('spend_limit', 'Spend Limit'), ('forecast', 'Forecast'), ('balance', 'Balance'), ('spend', 'Spend'), ('usage', 'Usage'), ('change', 'Change'), ('unrated', 'Unrated'), ('quarantined', 'Quarantined'), ('lag', 'Lag'), ('recharge', 'Recharge')], max_length=16),
        ),
        migrations.CreateModel(
            name='AlertRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=64)),
                ('number', models.PositiveIntegerField()),
                ('watched', models.CharField(choices=[('balance', 'Balance'), ('spend', 'Spend'), ('usage', 'Usage'), ('forecast', 'Forecast'), ('change', 'Change'), ('unrated', 'Unrated'), ('quarantined', 'Quarantined'), ('lag', 'Lag')], max_length=11)),
                ('window', models.CharField(blank=True, choices=[('', 'none'), ('hour', 'Hour'), ('day', 'Day'), ('month', 'Month')], default='', max_length=5)),
                ('threshold', models.DecimalField(decimal_places=12, max_digits=38)),
                ('floor', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('customer', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('meter', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.meter')),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
                ('pricing_unit', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.pricingunit')),
            ],
            options={
                'db_table': 'alert_rule',
                'ordering': ['code', '-number'],
            },
        ),
        migrations.AddField(
            model_name='alert',
            name='rule',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.alertrule'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.UniqueConstraint(fields=('code', 'number'), name='alert_rule_once'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.CheckConstraint(condition=models.Q(('threshold__gt', 0), ('threshold__lt', 1000000000000000000000000)), name='alert_rule_threshold'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('floor__isnull', True), ('watched__in', ['balance', 'spend', 'usage', 'forecast', 'unrated', 'quarantined', 'lag'])), models.Q(('floor__gte', 0), ('floor__lt', 1000000000000000000000000), ('watched', 'change')), _connector='OR'), name='alert_rule_floor_of_change'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('watched__in', ['spend', 'usage']), ('window__in', ['hour', 'day', 'month'])), models.Q(('watched', 'change'), ('window__in', ['hour', 'day'])), models.Q(('watched__in', ['balance', 'forecast', 'unrated', 'quarantined', 'lag']), ('window', '')), _connector='OR'), name='alert_rule_window'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('meter__isnull', False), ('pricing_unit__isnull', True), ('watched', 'usage')), models.Q(('meter__isnull', True), ('pricing_unit__isnull', False), ('watched__in', ['balance', 'spend', 'forecast', 'change'])), models.Q(('customer__isnull', True), ('meter__isnull', True), ('pricing_unit__isnull', True), ('watched__in', ['unrated', 'quarantined', 'lag'])), _connector='OR'), name='alert_rule_about'),
        ),
        migrations.RunSQL(_keeping(f"{_STATE}, 'ended_at', 'owner_id'"), _keeping(_STATE)),
        append_only("alert_rule"),
        joins_own_change("alert_rule", "alert_rule"),
        needs_approved("alert", "rule_id", "alert_rule"),
    ]
