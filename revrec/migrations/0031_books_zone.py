from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change, own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """In which time zone the days of the books begin, chosen before anything is posted."""

    dependencies = [
        ('revrec', '0030_entries_by_period_and_kind'),
    ]

    operations = [
        migrations.CreateModel(
            name='BooksZone',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('zone', models.CharField(max_length=64)),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'books_zone',
                'ordering': ['-number'],
            },
        ),
        append_only("books_zone"),
        joins_own_change("books_zone", "books_zone"),
        migrations.RunSQL(
            (SQL / "books_zone.sql").read_text(), (SQL / "books_zone_back.sql").read_text()
        ),
        own_search_path("books_zone_refuse_late"),
    ]
