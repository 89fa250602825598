import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state


class Migration(migrations.Migration):
    """Balances that are filled by themselves: what was agreed to, and what was bought so."""

    dependencies = [
        ('credits', '0022_alert_rule'),
        ('invoicing', '0044_written_off_notes'),
        ('metering', '0028_customer_locale'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AutoRecharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('threshold', models.DecimalField(decimal_places=12, max_digits=38)),
                ('amount', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('target', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('unit_price', models.DecimalField(decimal_places=12, max_digits=38)),
                ('currency', models.CharField(max_length=3)),
                ('monthly_limit_minor', models.BigIntegerField()),
                ('cool_down_seconds', models.PositiveIntegerField()),
                ('most_failures', models.PositiveSmallIntegerField()),
                ('consent', models.TextField()),
                ('consented_by', models.CharField(max_length=200)),
                ('consented_at', models.DateTimeField()),
                ('set_up_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('end_reason', models.CharField(blank=True, max_length=500)),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('ended_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('pricing_unit', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.pricingunit')),
                ('set_up_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'auto_recharge',
                'ordering': ['-id'],
                'permissions': [('manage_autorecharge', 'Can set up and end automatic recharges')],
            },
        ),
        migrations.CreateModel(
            name='Recharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('available', models.DecimalField(decimal_places=12, max_digits=38)),
                ('credits', models.DecimalField(decimal_places=12, max_digits=38)),
                ('price_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('month_on', models.DateField()),
                ('opened_at', models.DateTimeField()),
                ('state', models.CharField(choices=[('open', 'Open'), ('paid', 'Paid'), ('failed', 'Failed')], default='open', max_length=6)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('auto_recharge', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='recharges', to='invoicing.autorecharge')),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('invoice', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.invoice')),
                ('pricing_unit', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.pricingunit')),
            ],
            options={
                'db_table': 'recharge',
                'ordering': ['-id'],
            },
        ),
        migrations.AddConstraint(
            model_name='autorecharge',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('customer', 'pricing_unit'), name='auto_recharge_one_standing'),
        ),
        migrations.AddConstraint(
            model_name='autorecharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount__isnull', True), ('target__gt', models.F('threshold'))), models.Q(('amount__gt', 0), ('amount__lt', 1000000000000000000000000), ('target__isnull', True)), _connector='OR'), name='auto_recharge_amount_or_target'),
        ),
        migrations.AddConstraint(
            model_name='autorecharge',
            constraint=models.CheckConstraint(condition=models.Q(('threshold__gt', 0), ('threshold__lt', 1000000000000000000000000), models.Q(('target__isnull', True), ('target__lt', 1000000000000000000000000), _connector='OR'), ('unit_price__gt', 0), ('unit_price__lt', 1000000000000000000000000), ('monthly_limit_minor__gt', 0), ('monthly_limit_minor__lt', 1000000000000000), ('most_failures__gt', 0)), name='auto_recharge_bounds'),
        ),
        migrations.AddConstraint(
            model_name='autorecharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('consent__regex', '^\\s*$'), _negated=True), models.Q(('consented_by__regex', '^\\s*$'), _negated=True)), name='auto_recharge_has_consent'),
        ),
        migrations.AddConstraint(
            model_name='autorecharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('end_reason', ''), ('ended_at__isnull', True), ('ended_by__isnull', True)), models.Q(('end_reason__gt', ''), ('ended_at__isnull', False), ('ended_by__isnull', False)), _connector='OR'), name='auto_recharge_ended_by_someone'),
        ),
        migrations.AddConstraint(
            model_name='recharge',
            constraint=models.UniqueConstraint(fields=('auto_recharge', 'number'), name='recharge_once'),
        ),
        migrations.AddConstraint(
            model_name='recharge',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'open')), fields=('customer', 'pricing_unit'), name='recharge_one_open'),
        ),
        migrations.AddConstraint(
            model_name='recharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('state', 'open')), models.Q(('closed_at__isnull', False), ('state__in', ['paid', 'failed'])), _connector='OR'), name='recharge_closed_once'),
        ),
        migrations.AddConstraint(
            model_name='recharge',
            constraint=models.CheckConstraint(condition=models.Q(('credits__gt', 0), ('credits__lt', 1000000000000000000000000), ('price_minor__gt', 0), ('price_minor__lt', 1000000000000000)), name='recharge_bounds'),
        ),
        facts_with_state("auto_recharge", "ended_at", "ended_by_id", "end_reason"),
        facts_with_state("recharge", "state", "closed_at"),
    ]
