from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import (
    append_only,
    joins_own_change,
    needs_approved,
    own_search_path,
)

COUPONS = (Path(__file__).parent / "sql" / "coupons.sql").read_text()


class Migration(migrations.Migration):
    """Coupons: approved, redeemed as often as they allow; and discounts of lines."""

    dependencies = [
        ('credits', '0015_period_cut'),
        ('invoicing', '0020_markets_and_tax'),
        ('kernel', '0009_own_search_path'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Coupon',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=40, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('percent', models.DecimalField(blank=True, decimal_places=3, max_digits=6, null=True)),
                ('amount_minor', models.BigIntegerField(default=0)),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('kinds', models.JSONField()),
                ('periods', models.PositiveSmallIntegerField()),
                ('starts_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('max_redemptions', models.PositiveIntegerField(blank=True, null=True)),
            ],
            options={
                'db_table': 'coupon',
                'ordering': ['code'],
            },
        ),
        migrations.CreateModel(
            name='CouponRedemption',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.PositiveIntegerField()),
                ('from_at', models.DateTimeField()),
                ('redeemed_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'coupon_redemption',
                'ordering': ['coupon', 'sequence'],
            },
        ),
        migrations.CreateModel(
            name='LineDiscount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('amount_minor', models.BigIntegerField()),
            ],
            options={
                'db_table': 'line_discount',
            },
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='discount_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.CheckConstraint(condition=models.Q(('discount_minor__gte', 0)), name='invoice_line_discount_positive'),
        ),
        migrations.AddField(
            model_name='coupon',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddField(
            model_name='couponredemption',
            name='coupon',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='redemptions', to='invoicing.coupon'),
        ),
        migrations.AddField(
            model_name='couponredemption',
            name='redeemed_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='couponredemption',
            name='subscription',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='coupons', to='invoicing.subscription'),
        ),
        migrations.AddField(
            model_name='linediscount',
            name='line',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='discounts', to='invoicing.invoiceline'),
        ),
        migrations.AddField(
            model_name='linediscount',
            name='plan_item',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.planitem'),
        ),
        migrations.AddField(
            model_name='linediscount',
            name='redemption',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.couponredemption'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount_minor__gt', 0), ('amount_minor__lt', 1000000000000000), ('percent__isnull', True), models.Q(('currency', ''), _negated=True)), models.Q(('amount_minor', 0), ('currency', ''), ('percent__gt', 0), ('percent__lte', 100)), _connector='OR'), name='coupon_percent_or_amount'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('expires_at__isnull', True), ('expires_at__gt', models.F('starts_at')), _connector='OR'), name='coupon_half_open'),
        ),
        migrations.AddConstraint(
            model_name='coupon',
            constraint=models.CheckConstraint(condition=models.Q(('max_redemptions__isnull', True), ('max_redemptions__gt', 0), _connector='OR'), name='coupon_is_redeemable'),
        ),
        migrations.AddConstraint(
            model_name='couponredemption',
            constraint=models.UniqueConstraint(fields=('coupon', 'subscription'), name='coupon_redemption_once'),
        ),
        migrations.AddConstraint(
            model_name='couponredemption',
            constraint=models.UniqueConstraint(fields=('coupon', 'sequence'), name='coupon_redemption_in_order'),
        ),
        migrations.AddConstraint(
            model_name='linediscount',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='line_discount_positive'),
        ),
        migrations.AddConstraint(
            model_name='linediscount',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('plan_item__isnull', True), ('redemption__isnull', False)), models.Q(('plan_item__isnull', False), ('redemption__isnull', True)), _connector='OR'), name='line_discount_has_one_origin'),
        ),
        append_only("coupon"),
        joins_own_change("coupon", "coupon"),
        append_only("coupon_redemption"),
        needs_approved("coupon_redemption", "coupon_id", "coupon"),
        migrations.RunSQL(
            COUPONS,
            "DROP TRIGGER redeem ON coupon_redemption;"
            " DROP TRIGGER keep_issued_from_more ON line_discount;"
            " DROP TRIGGER keep_issued_from_less ON line_discount;"
            " DROP TRIGGER keep_rows ON line_discount; DROP TRIGGER keep_table ON line_discount;"
            " DROP FUNCTION coupon_redeem",
        ),
        own_search_path("coupon_redeem"),
    ]
