from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Markets are opened for the entity that sells there; those of before, for the main one."""

    dependencies = [('invoicing', '0036_stripe_mirror')]

    operations = [
        migrations.AddField(
            model_name='marketgate',
            name='entity',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.legalentity'),
        ),
        migrations.RemoveConstraint(model_name='marketgate', name='market_gate_once'),
        migrations.AddConstraint(
            model_name='marketgate',
            constraint=models.UniqueConstraint(fields=('entity', 'country', 'currency', 'number'), nulls_distinct=False, name='market_gate_once'),
        ),
        migrations.RunSQL(
            (SQL / "gates_of_entities.sql").read_text(), (SQL / "market_guard.sql").read_text()
        ),
        own_search_path("invoice_need_open_market"),
    ]
