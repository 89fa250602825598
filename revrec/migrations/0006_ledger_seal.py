from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, own_search_path

SEAL = (Path(__file__).parent / "sql" / "seal.sql").read_text()


class Migration(migrations.Migration):
    """Signed heads of the journal's chain, one for each closed month."""

    dependencies = [
        ('revrec', '0005_own_search_path'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LedgerSeal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('entity', models.CharField(max_length=200)),
                ('head_position', models.BigIntegerField()),
                ('head_sha256', models.CharField(max_length=64)),
                ('manifest', models.TextField()),
                ('signature', models.CharField(max_length=88)),
                ('public_key', models.CharField(max_length=44)),
                ('sealed_at', models.DateTimeField()),
                ('period', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='seal', to='revrec.accountingperiod')),
                ('sealed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'ledger_seal',
                'ordering': ['-id'],
            },
        ),
        append_only("ledger_seal"),
        migrations.RunSQL(SEAL, "DROP TRIGGER names_head ON ledger_seal; DROP FUNCTION ledger_seal_names_head"),
        own_search_path("ledger_seal_names_head"),
    ]
