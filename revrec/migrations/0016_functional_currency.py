from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import (
    append_only,
    joins_own_change,
    needs_proposed,
    own_search_path,
)

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Approved rates of exchange, and what postings are worth in the books' own currency.

    Postings of before stand as they were: without a worth of their own they are worth their amount.
    """

    dependencies = [
        ('invoicing', '0038_short_payment'),
        ('kernel', '0009_own_search_path'),
        ('metering', '0028_customer_locale'),
        ('revrec', '0015_audit_pack'),
    ]

    operations = [
        migrations.CreateModel(
            name='ExchangeRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('functional_currency', models.CharField(max_length=3)),
                ('from_on', models.DateField()),
                ('value', models.DecimalField(decimal_places=12, max_digits=24)),
            ],
            options={
                'db_table': 'exchange_rate',
                'ordering': ['-sheet', 'currency', '-from_on'],
            },
        ),
        migrations.CreateModel(
            name='ExchangeSheet',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('source', models.CharField(max_length=200)),
                ('end_on', models.DateField()),
            ],
            options={
                'db_table': 'exchange_sheet',
                'ordering': ['-number'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='posting',
            name='posting_not_zero',
        ),
        migrations.AddField(
            model_name='posting',
            name='functional_currency',
            field=models.CharField(blank=True, max_length=3, null=True),
        ),
        migrations.AddField(
            model_name='posting',
            name='functional_minor',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='posting',
            index=models.Index(condition=models.Q(('functional_currency__isnull', False)), fields=['customer', 'currency'], name='posting_translated'),
        ),
        migrations.AddConstraint(
            model_name='posting',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount_minor', 0), _negated=True), models.Q(('functional_minor__isnull', False), models.Q(('functional_minor', 0), _negated=True)), _connector='OR'), name='posting_not_zero'),
        ),
        migrations.AddConstraint(
            model_name='posting',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('functional_currency__isnull', True), ('functional_minor__isnull', True)), models.Q(('functional_currency__isnull', False), ('functional_minor__isnull', False), models.Q(('functional_currency', models.F('currency')), _negated=True)), _connector='OR'), name='posting_functional_is_another'),
        ),
        migrations.AddField(
            model_name='exchangesheet',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddField(
            model_name='exchangerate',
            name='sheet',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='rates', to='revrec.exchangesheet'),
        ),
        migrations.AddConstraint(
            model_name='exchangerate',
            constraint=models.UniqueConstraint(fields=('sheet', 'currency', 'functional_currency', 'from_on'), name='exchange_rate_once'),
        ),
        migrations.AddConstraint(
            model_name='exchangerate',
            constraint=models.CheckConstraint(condition=models.Q(('value__gt', 0), ('value__lt', 100000000000)), name='exchange_rate_positive'),
        ),
        migrations.AddConstraint(
            model_name='exchangerate',
            constraint=models.CheckConstraint(condition=models.Q(('currency', models.F('functional_currency')), _negated=True), name='exchange_rate_of_another'),
        ),
        append_only("exchange_sheet"),
        joins_own_change("exchange_sheet", "exchange_rates"),
        append_only("exchange_rate"),
        needs_proposed("exchange_rate", "sheet_id", "exchange_sheet"),
        migrations.RunSQL(
            (SQL / "functional.sql").read_text(), (SQL / "functional_back.sql").read_text()
        ),
        own_search_path("journal_entry_balanced"),
    ]
