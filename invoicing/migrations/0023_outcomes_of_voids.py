from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Outcomes of void invoices can be billed again."""

    dependencies = [
        ('invoicing', '0022_overage_threshold'),
    ]

    operations = [
        migrations.AddField(
            model_name='lineoutcome',
            name='is_void',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name='lineoutcome',
            name='outcome',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.outcome'),
        ),
        migrations.AddConstraint(
            model_name='lineoutcome',
            constraint=models.UniqueConstraint(condition=models.Q(('is_void', False)), fields=('outcome',), name='line_outcome_billed_once'),
        ),
        migrations.RunSQL(
            (SQL / "outcomes_of_voids.sql").read_text(),
            (SQL / "outcomes_of_voids_back.sql").read_text(),
        ),
        own_search_path("outcome_decide", "line_outcome_follow_void", "line_outcome_keep"),
    ]
