import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only


class Migration(migrations.Migration):
    """The PDF of each issued invoice, kept as it was set first."""

    dependencies = [
        ('invoicing', '0027_note_reasons'),
    ]

    operations = [
        migrations.CreateModel(
            name='InvoiceDocument',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('content', models.BinaryField()),
                ('content_sha256', models.BinaryField(max_length=32)),
                ('set_at', models.DateTimeField()),
                ('invoice', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='document', to='invoicing.invoice')),
            ],
            options={
                'db_table': 'invoice_document',
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('content_sha256', models.Func(models.F('content'), function='sha256', output_field=models.BinaryField()))), name='invoice_document_sha256')],
            },
        ),
        append_only("invoice_document"),
    ]
