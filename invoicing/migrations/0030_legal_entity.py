from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, own_search_path

SQL = Path(__file__).parent / "sql"

# The first row of its table, and so 1: what every document of before is of.
MAIN = "INSERT INTO legal_entity (code, series_prefix, created_at) VALUES ('main', '', now())"


def keep_names(apps, schema_editor):
    """Keep on what is issued already who bought and who sold, as both are called now.

    Their guards look away meanwhile: issued invoices are facts.
    """
    guards = ("keep_rows", "lines_sum", "need_open_market")
    with schema_editor.connection.cursor() as cursor:
        # The new columns wrote rows again, whose foreign keys wait for a check.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for guard in guards:
            cursor.execute(f"ALTER TABLE invoice DISABLE TRIGGER {guard}")
        cursor.execute(
            "UPDATE invoice i SET seller_name = %s, seller_address = %s, customer_name = k.name,"
            " customer_address = concat_ws(E'\\n', nullif(k.email, ''), nullif(k.country, ''))"
            " FROM customer k WHERE k.id = i.customer_id AND i.status <> 'draft'",
            [settings.SELLER["name"], "\n".join(settings.SELLER["details"])],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for guard in guards:
            cursor.execute(f"ALTER TABLE invoice ENABLE ALWAYS TRIGGER {guard}")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class Migration(migrations.Migration):
    """Legal entities with number series of their own; who bought and sold, kept at the issue."""

    dependencies = [
        ('invoicing', '0029_invoice_mail'),
        ('kernel', '0009_own_search_path'),
        ('metering', '0026_stable_used_meter_event'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LegalEntity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=20, unique=True)),
                ('series_prefix', models.CharField(blank=True, max_length=8, unique=True)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'legal entities',
                'db_table': 'legal_entity',
                'ordering': ['id'],
                'permissions': [('assign_legalentity', 'Can say which legal entity bills a customer')],
            },
        ),
        migrations.RunSQL(MAIN, migrations.RunSQL.noop),
        migrations.CreateModel(
            name='LegalEntityVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('legal_name', models.CharField(max_length=200)),
                ('address', models.TextField()),
                ('tax_number', models.CharField(blank=True, max_length=40)),
                ('country', models.CharField(max_length=2)),
                ('currency', models.CharField(max_length=3)),
            ],
            options={
                'db_table': 'legal_entity_version',
                'ordering': ['entity', '-number'],
            },
        ),
        migrations.AddField(
            model_name='invoice',
            name='customer_address',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='invoice',
            name='customer_name',
            field=models.CharField(blank=True, db_default='', max_length=200),
        ),
        migrations.AddField(
            model_name='invoice',
            name='seller_address',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='invoice',
            name='seller_name',
            field=models.CharField(blank=True, db_default='', max_length=200),
        ),
        migrations.AddField(
            model_name='invoice',
            name='seller_tax_number',
            field=models.CharField(blank=True, db_default='', max_length=40),
        ),
        migrations.AlterField(
            model_name='creditnote',
            name='sequence',
            field=models.BigIntegerField(),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='sequence',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='numberseries',
            name='code',
            field=models.CharField(max_length=20),
        ),
        migrations.CreateModel(
            name='CustomerEntity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('recorded_at', models.DateTimeField()),
                ('customer', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('recorded_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('entity', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.legalentity')),
            ],
            options={
                'verbose_name_plural': 'customer entities',
                'db_table': 'customer_entity',
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='creditnote',
            name='entity',
            field=models.ForeignKey(db_default=1, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.legalentity'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='entity',
            field=models.ForeignKey(db_default=1, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.legalentity'),
        ),
        migrations.AddField(
            model_name='numberseries',
            name='entity',
            field=models.ForeignKey(db_default=1, on_delete=django.db.models.deletion.PROTECT, related_name='series', to='invoicing.legalentity'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.UniqueConstraint(fields=('entity', 'sequence'), name='credit_note_sequence_once'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('entity', 'sequence'), name='invoice_sequence_once'),
        ),
        migrations.AddConstraint(
            model_name='numberseries',
            constraint=models.UniqueConstraint(fields=('entity', 'code'), name='number_series_once'),
        ),
        migrations.AddField(
            model_name='legalentityversion',
            name='entity',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='invoicing.legalentity'),
        ),
        migrations.AddField(
            model_name='legalentityversion',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        migrations.AddConstraint(
            model_name='legalentityversion',
            constraint=models.UniqueConstraint(fields=('entity', 'number'), name='legal_entity_version_once'),
        ),
        migrations.AddConstraint(
            model_name='legalentityversion',
            constraint=models.CheckConstraint(condition=models.Q(('address__gt', ''), ('country__gt', ''), ('currency__gt', ''), ('legal_name__gt', '')), name='legal_entity_version_whole'),
        ),
        append_only("legal_entity"),
        append_only("legal_entity_version"),
        append_only("customer_entity"),
        joins_own_change("legal_entity_version", "legal_entity"),
        migrations.RunSQL(
            (SQL / "entities.sql").read_text(), (SQL / "entities_back.sql").read_text()
        ),
        own_search_path(
            "invoice_keep_issued",
            "credit_note_number",
            "number_series_used",
            "customer_entity_before_sales",
        ),
        migrations.RunPython(keep_names, migrations.RunPython.noop),
    ]
