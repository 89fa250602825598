import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Let a month's entries be paged by kind along one index, which serves its foreign key too."""

    dependencies = [
        ('revrec', '0029_loss_treatment'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='journalentry',
            index=models.Index(fields=['period', 'kind', 'id'], name='journal_entry_by_kind'),
        ),
        migrations.AlterField(
            model_name='journalentry',
            name='period',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='revrec.accountingperiod'),
        ),
    ]
