from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Credit notes that are taken back, and the PDF of each as it was set first."""

    dependencies = [
        ('invoicing', '0030_legal_entity'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CreditNoteVoid',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(max_length=500)),
                ('voided_at', models.DateTimeField()),
                ('credit_note', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='void', to='invoicing.creditnote')),
                ('voided_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'credit_note_void',
                'ordering': ['-id'],
                'permissions': [('void_creditnote', 'Can void a credit note')],
            },
        ),
        migrations.CreateModel(
            name='CreditNoteDocument',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('content', models.BinaryField()),
                ('content_sha256', models.BinaryField(max_length=32)),
                ('set_at', models.DateTimeField()),
                ('credit_note', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='document', to='invoicing.creditnote')),
            ],
            options={
                'db_table': 'credit_note_document',
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('content_sha256', models.Func(models.F('content'), function='sha256', output_field=models.BinaryField()))), name='credit_note_document_sha256')],
            },
        ),
        append_only("credit_note_void"),
        append_only("credit_note_document"),
        migrations.RunSQL(
            (SQL / "note_voids.sql").read_text(), (SQL / "note_voids_back.sql").read_text()
        ),
        own_search_path("credit_note_follow_void", "invoice_keep_issued", "refund_within_note"),
    ]
