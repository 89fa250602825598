from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, facts_with_state, needs_approved

SQL = Path(__file__).parent / "sql"
POSITIONS = (SQL / "positions.sql").read_text()
LINKED = (SQL / "linked_grants.sql").read_text()


class Migration(migrations.Migration):
    """Terms of grants, rules that give them again, links between them; one order for all facts."""

    dependencies = [
        ('credits', '0005_rate_terms'),
        ('kernel', '0005_policy_expiry'),
        ('metering', '0014_quarantined_event_identifier'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL("CREATE SEQUENCE credit_fact_position", "DROP SEQUENCE credit_fact_position"),
        migrations.CreateModel(
            name='ClawBack',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purchase_key', models.CharField(max_length=120)),
                ('reason', models.CharField(choices=[('refund', 'Refund'), ('dispute', 'Dispute')], max_length=8)),
                ('reference', models.CharField(max_length=120)),
                ('credits', models.DecimalField(decimal_places=12, max_digits=38)),
                ('used', models.DecimalField(decimal_places=12, max_digits=38)),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'claw_back',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='GrantTerms',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=64)),
                ('number', models.PositiveIntegerField()),
                ('category', models.CharField(max_length=12)),
                ('priority', models.PositiveSmallIntegerField(default=50)),
                ('life_days', models.PositiveIntegerField(blank=True, null=True)),
                ('is_pooled', models.BooleanField(default=True)),
                ('meter_codes', models.JSONField(blank=True, default=list)),
                ('rollover', models.CharField(choices=[('none', 'None'), ('fraction', 'Fraction'), ('cap', 'Cap')], default='none', max_length=8)),
                ('rollover_value', models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('return_days', models.PositiveIntegerField(blank=True, null=True)),
                ('refund_rule', models.CharField(choices=[('unused', 'Unused'), ('never', 'Never')], default='unused', max_length=8)),
            ],
            options={
                'verbose_name_plural': 'grant terms',
                'db_table': 'grant_terms',
            },
        ),
        migrations.CreateModel(
            name='RecurringGrant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.DecimalField(decimal_places=12, max_digits=38)),
                ('interval_unit', models.CharField(choices=[('day', 'Day'), ('week', 'Week'), ('month', 'Month')], max_length=5)),
                ('interval_count', models.PositiveSmallIntegerField(default=1)),
                ('start_at', models.DateTimeField()),
                ('until_at', models.DateTimeField(blank=True, null=True)),
                ('reason_code', models.CharField(max_length=40)),
                ('source_key', models.CharField(max_length=120, unique=True)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'recurring_grant',
                'ordering': ['-id'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='ledgertransaction',
            name='ledger_transaction_sign',
        ),
        migrations.RemoveConstraint(
            model_name='ledgertransaction',
            name='ledger_transaction_burn_has_usage',
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='basis_amount',
            field=models.DecimalField(blank=True, decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='name',
            field=models.CharField(blank=True, db_default='', default='', max_length=100),
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='origin',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='linked', to='credits.creditgrant'),
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='root',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.creditgrant'),
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='rule_period_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='ledgertransaction',
            name='position',
            field=models.BigIntegerField(db_default=models.Func(models.Value('credit_fact_position'), function='nextval'), editable=False),
        ),
        migrations.AddField(
            model_name='ratedusage',
            name='position',
            field=models.BigIntegerField(db_default=models.Func(models.Value('credit_fact_position'), function='nextval'), editable=False),
        ),
        migrations.AlterField(
            model_name='ledgertransaction',
            name='kind',
            field=models.CharField(choices=[('granted', 'Granted'), ('drawn', 'Drawn'), ('returned', 'Returned'), ('expired', 'Expired'), ('voided', 'Voided'), ('reinstated', 'Reinstated'), ('rolled_over', 'Rolled Over')], max_length=12),
        ),
        migrations.AddConstraint(
            model_name='ledgertransaction',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('credits__gt', 0), ('credits__lt', 1000000000000000000000000), ('kind__in', ['granted', 'returned', 'reinstated'])), models.Q(('credits__gt', -1000000000000000000000000), ('credits__lt', 0), ('kind__in', ['drawn', 'expired', 'voided', 'rolled_over'])), _connector='OR'), name='ledger_transaction_sign'),
        ),
        migrations.AddConstraint(
            model_name='ledgertransaction',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('credit_policy__isnull', False), ('kind__in', ['drawn', 'returned']), ('rated_usage__isnull', False)), models.Q(('kind__in', ['granted', 'expired', 'voided', 'reinstated', 'rolled_over']), ('rated_usage__isnull', True)), _connector='OR'), name='ledger_transaction_burn_has_usage'),
        ),
        migrations.AddField(
            model_name='clawback',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddField(
            model_name='clawback',
            name='follows',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.clawback'),
        ),
        migrations.AddField(
            model_name='clawback',
            name='recorded_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='grantterms',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='terms',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.grantterms'),
        ),
        migrations.AddField(
            model_name='recurringgrant',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='recurringgrant',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AddField(
            model_name='recurringgrant',
            name='pricing_unit',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.pricingunit'),
        ),
        migrations.AddField(
            model_name='recurringgrant',
            name='terms',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.grantterms'),
        ),
        migrations.AddField(
            model_name='recurringgrant',
            name='workspace',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.workspace'),
        ),
        migrations.AddField(
            model_name='creditgrant',
            name='rule',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='credits.recurringgrant'),
        ),
        migrations.AddConstraint(
            model_name='creditgrant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('basis_amount__isnull', True), ('origin__isnull', True), ('root__isnull', True)), models.Q(('basis_amount__gte', models.F('amount')), ('origin__isnull', False), ('root__isnull', False)), _connector='OR'), name='credit_grant_linked_has_basis'),
        ),
        migrations.AddConstraint(
            model_name='creditgrant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('rule__isnull', True), ('rule_period_at__isnull', True)), models.Q(('origin__isnull', True), ('rule__isnull', False), ('rule_period_at__isnull', False)), _connector='OR'), name='credit_grant_rule_has_period'),
        ),
        migrations.AddConstraint(
            model_name='creditgrant',
            constraint=models.UniqueConstraint(fields=('rule', 'rule_period_at'), name='credit_grant_rule_once'),
        ),
        migrations.AddConstraint(
            model_name='clawback',
            constraint=models.UniqueConstraint(condition=models.Q(('follows__isnull', True)), fields=('purchase_key',), name='claw_back_takes_once'),
        ),
        migrations.AddConstraint(
            model_name='clawback',
            constraint=models.UniqueConstraint(fields=('purchase_key', 'reason', 'reference'), name='claw_back_known_once'),
        ),
        migrations.AddConstraint(
            model_name='clawback',
            constraint=models.CheckConstraint(condition=models.Q(('credits__gte', 0), ('credits__lt', 1000000000000000000000000), ('used__gte', 0), ('used__lt', 1000000000000000000000000), models.Q(('follows__isnull', True), ('credits', 0), _connector='OR')), name='claw_back_bounds'),
        ),
        migrations.AddConstraint(
            model_name='grantterms',
            constraint=models.UniqueConstraint(fields=('code', 'number'), name='grant_terms_once'),
        ),
        migrations.AddConstraint(
            model_name='grantterms',
            constraint=models.CheckConstraint(condition=models.Q(('priority__lte', 100)), name='grant_terms_priority'),
        ),
        migrations.AddConstraint(
            model_name='grantterms',
            constraint=models.CheckConstraint(condition=models.Q(('category__in', ['paid', 'promotional', 'included', 'goodwill'])), name='grant_terms_category'),
        ),
        migrations.AddConstraint(
            model_name='grantterms',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('life_days__isnull', True), ('life_days__gt', 0), _connector='OR'), models.Q(('return_days__isnull', True), ('return_days__gt', 0), _connector='OR')), name='grant_terms_life'),
        ),
        migrations.AddConstraint(
            model_name='grantterms',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('rollover', 'none'), ('rollover_value__isnull', True)), models.Q(('rollover', 'fraction'), ('rollover_value__gt', 0), ('rollover_value__lte', 1)), models.Q(('rollover', 'cap'), ('rollover_value__gt', 0), ('rollover_value__lt', 1000000000000000000000000)), _connector='OR'), name='grant_terms_rollover'),
        ),
        migrations.AddConstraint(
            model_name='recurringgrant',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0), ('amount__lt', 1000000000000000000000000)), name='recurring_grant_amount_bounds'),
        ),
        migrations.AddConstraint(
            model_name='recurringgrant',
            constraint=models.CheckConstraint(condition=models.Q(('interval_count__gt', 0)), name='recurring_grant_interval'),
        ),
        migrations.AddConstraint(
            model_name='recurringgrant',
            constraint=models.CheckConstraint(condition=models.Q(('until_at__isnull', True), ('until_at__gte', models.F('start_at')), _connector='OR'), name='recurring_grant_until_after_start'),
        ),
        migrations.RunSQL(POSITIONS, migrations.RunSQL.noop),
        migrations.RunSQL(
            LINKED,
            "DROP TRIGGER link_fits ON credit_grant; DROP FUNCTION credit_grant_link_fits",
        ),
        append_only("grant_terms"),
        append_only("claw_back"),
        facts_with_state("recurring_grant", "until_at"),
        needs_approved("recurring_grant", "terms_id", "grant_terms"),
        needs_approved("credit_grant", "terms_id", "grant_terms"),
    ]
