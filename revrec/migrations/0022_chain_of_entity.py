from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """A hash chain for each legal entity; what was posted before is the main entity's."""

    dependencies = [
        ('invoicing', '0045_auto_recharge'),
        ('metering', '0028_customer_locale'),
        ('revrec', '0021_contract_allocation'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='journalexport',
            name='journal_export_once',
        ),
        migrations.AddField(
            model_name='journalentry',
            name='entity',
            field=models.ForeignKey(db_default=1, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.legalentity'),
        ),
        migrations.AddField(
            model_name='journalexport',
            name='entity',
            field=models.ForeignKey(db_default=1, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.legalentity'),
        ),
        migrations.AlterField(
            model_name='journalentry',
            name='chain_position',
            field=models.BigIntegerField(),
        ),
        migrations.AddConstraint(
            model_name='journalentry',
            constraint=models.UniqueConstraint(fields=('entity', 'chain_position'), name='journal_entry_chain_position'),
        ),
        migrations.AddConstraint(
            model_name='journalexport',
            constraint=models.UniqueConstraint(fields=('entity', 'form', 'detail', 'currency', 'first_position'), name='journal_export_once'),
        ),
        migrations.RunSQL(
            (SQL / "chain_of_entity.sql").read_text(),
            (SQL / "chain_of_entity_back.sql").read_text(),
        ),
        own_search_path(
            "journal_entry_of_biller", "customer_entity_before_books", "ledger_seal_names_head",
            "journal_export_follows",
        ),
    ]
