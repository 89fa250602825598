from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """What an export's lines are worth in the currency of the books; files of before keep theirs."""

    dependencies = [
        ('invoicing', '0046_commitment_line'),
        ('revrec', '0024_recognition_policy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='journalexport',
            name='books_credit_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='journalexport',
            name='books_currency',
            field=models.CharField(blank=True, db_default='', default='', max_length=3),
        ),
        migrations.AddField(
            model_name='journalexport',
            name='books_debit_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='journalexport',
            name='layout',
            field=models.PositiveSmallIntegerField(choices=[(1, 'amounts'), (2, 'worth')], db_default=1),
        ),
        migrations.AddConstraint(
            model_name='journalexport',
            constraint=models.CheckConstraint(condition=models.Q(('books_debit_minor', models.F('books_credit_minor')), ('books_debit_minor__gte', 0), models.Q(('books_currency__gt', ''), ('books_debit_minor', 0), _connector='OR')), name='journal_export_balanced_in_books'),
        ),
    ]
