from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, own_search_path

EXPORT = (Path(__file__).parent / "sql" / "journal_export.sql").read_text()


class Migration(migrations.Migration):
    """How other ledgers know our accounts, and what of the journal they were given."""

    dependencies = [
        ('revrec', '0011_two_person_close'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AccountMap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('effective_on', models.DateField()),
                ('tax_rate', models.CharField(max_length=60)),
                ('reason', models.TextField()),
                ('created_at', models.DateTimeField()),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'account_map',
                'ordering': ['-number'],
                'permissions': [('map_accounts', 'Can say how other ledgers know the accounts'), ('export_journal', 'Can export the journal to other ledgers')],
            },
        ),
        migrations.CreateModel(
            name='AccountCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=40)),
                ('name', models.CharField(max_length=200)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='revrec.ledgeraccount')),
                ('account_map', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='codes', to='revrec.accountmap')),
            ],
            options={
                'db_table': 'account_code',
                'constraints': [models.UniqueConstraint(fields=('account_map', 'account'), name='account_code_once')],
            },
        ),
        migrations.CreateModel(
            name='JournalExport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('form', models.CharField(choices=[('csv', 'csv'), ('quickbooks', 'quickbooks'), ('xero', 'xero'), ('netsuite', 'netsuite')], max_length=12)),
                ('detail', models.CharField(choices=[('entry', 'entry'), ('day', 'day')], max_length=6)),
                ('currency', models.CharField(max_length=3)),
                ('first_position', models.BigIntegerField()),
                ('last_position', models.BigIntegerField()),
                ('line_count', models.BigIntegerField()),
                ('debit_minor', models.BigIntegerField()),
                ('credit_minor', models.BigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('source_key', models.CharField(max_length=160, unique=True)),
                ('created_at', models.DateTimeField()),
                ('account_map', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='revrec.accountmap')),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'journal_export',
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('form', 'detail', 'currency', 'first_position'), name='journal_export_once'), models.CheckConstraint(condition=models.Q(('first_position__gte', 1), ('last_position__gte', models.F('first_position'))), name='journal_export_forward'), models.CheckConstraint(condition=models.Q(('debit_minor', models.F('credit_minor')), ('debit_minor__gte', 0)), name='journal_export_balanced')],
            },
        ),
        append_only("account_map"),
        append_only("account_code"),
        append_only("journal_export"),
        migrations.RunSQL(
            EXPORT, "DROP TRIGGER follows ON journal_export; DROP FUNCTION journal_export_follows"
        ),
        own_search_path("journal_export_follows"),
    ]
