from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, needs_approved

PINS = (Path(__file__).parent / "sql" / "rate_pins.sql").read_text()


class Migration(migrations.Migration):
    """Pricing models, overrides and pins; rates of before are per unit, pooled by workspace."""

    dependencies = [
        ('credits', '0004_order_of_facts'),
        ('kernel', '0004_outbox_parts'),
        ('metering', '0014_quarantined_event_identifier'),
    ]

    operations = [
        migrations.CreateModel(
            name='RatePin',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
            options={
                'db_table': 'rate_pin',
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='pricingunit',
            name='currency',
            field=models.CharField(blank=True, default='', max_length=3),
        ),
        migrations.AddField(
            model_name='rate',
            name='included',
            field=models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='rate',
            name='maximum',
            field=models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='rate',
            name='minimum',
            field=models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='rate',
            name='model',
            field=models.CharField(choices=[('per_unit', 'Per Unit'), ('package', 'Package'), ('graduated', 'Graduated'), ('volume', 'Volume'), ('flat_fee', 'Flat Fee'), ('percentage', 'Percentage')], default='per_unit', max_length=10),
        ),
        migrations.AddField(
            model_name='rate',
            name='pools',
            field=models.CharField(choices=[('workspace', 'Workspace'), ('account', 'Account')], default='workspace', max_length=9),
        ),
        migrations.AddField(
            model_name='rate',
            name='terms',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='ratecard',
            name='base',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='overrides', to='credits.ratecard'),
        ),
        migrations.AddField(
            model_name='ratecard',
            name='customer',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddConstraint(
            model_name='pricingunit',
            constraint=models.CheckConstraint(condition=models.Q(('currency__regex', '^([A-Z]{3})?$')), name='pricing_unit_currency_code'),
        ),
        migrations.AddConstraint(
            model_name='pricingunit',
            constraint=models.UniqueConstraint(condition=models.Q(('currency', ''), _negated=True), fields=('currency',), name='pricing_unit_currency_once'),
        ),
        migrations.AddConstraint(
            model_name='rate',
            constraint=models.CheckConstraint(condition=models.Q(('model', 'per_unit'), models.Q(('model', 'package'), ('terms__has_keys', ['size', 'price']), ('unit_price', 0)), models.Q(('model__in', ['graduated', 'volume']), ('terms__has_key', 'tiers'), ('unit_price', 0)), models.Q(('model', 'flat_fee'), ('terms__has_key', 'fee'), ('unit_price', 0)), models.Q(('model', 'percentage'), ('terms__has_key', 'percent'), ('unit_price', 0)), _connector='OR'), name='rate_terms_of_model'),
        ),
        migrations.AddConstraint(
            model_name='rate',
            constraint=models.CheckConstraint(condition=models.Q(('pools__in', ['workspace', 'account'])), name='rate_pools_known'),
        ),
        migrations.AddConstraint(
            model_name='rate',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('included__isnull', True), models.Q(('included__gt', 0), ('included__lt', 1000000000000000000000000)), _connector='OR'), models.Q(('minimum__isnull', True), models.Q(('minimum__gt', 0), ('minimum__lt', 1000000000000000000000000)), _connector='OR'), models.Q(('maximum__isnull', True), models.Q(('maximum__gt', 0), ('maximum__lt', 1000000000000000000000000)), _connector='OR'), models.Q(('minimum__isnull', True), ('maximum__isnull', True), ('minimum__lte', models.F('maximum')), _connector='OR')), name='rate_allowance_bounds'),
        ),
        migrations.AddConstraint(
            model_name='ratecard',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('base__isnull', True), ('customer__isnull', True)), models.Q(('base__isnull', False), ('customer__isnull', False)), _connector='OR'), name='rate_card_override_has_base'),
        ),
        migrations.AddConstraint(
            model_name='ratecard',
            constraint=models.UniqueConstraint(fields=('customer', 'base'), name='rate_card_override_once'),
        ),
        migrations.AddField(
            model_name='ratepin',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddField(
            model_name='ratepin',
            name='policy_change',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddField(
            model_name='ratepin',
            name='rate_card',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='pins', to='credits.ratecard'),
        ),
        migrations.AddField(
            model_name='ratepin',
            name='version',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='pins', to='credits.ratecardversion'),
        ),
        migrations.AddConstraint(
            model_name='ratepin',
            constraint=models.UniqueConstraint(fields=('policy_change', 'customer', 'rate_card'), name='rate_pin_once'),
        ),
        append_only("rate_pin"),
        needs_approved("rate_pin", "version_id", "rate_card_version"),
        migrations.RunSQL(
            PINS,
            "DROP TRIGGER only_proposed ON rate_pin; DROP TRIGGER override_fits ON rate_card;"
            " DROP FUNCTION rate_pin_only_proposed, rate_card_override_fits",
        ),
    ]
