from pathlib import Path

import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Issued claims that end unpaid: void, or written off as uncollectible; and recoveries."""

    dependencies = [
        ('credits', '0012_one_own_change'),
        ('invoicing', '0013_outcome'),
        ('metering', '0023_own_search_path'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='InvoiceVoid',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(max_length=500)),
                ('voided_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'invoice_void',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='WriteOff',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('reason', models.CharField(max_length=500)),
                ('written_off_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'write_off',
                'ordering': ['-id'],
            },
        ),
        migrations.AlterModelOptions(
            name='invoice',
            options={'ordering': ['-id'], 'permissions': [('finalize_invoice', 'Can finalize a draft invoice'), ('record_payment', 'Can record a payment'), ('void_invoice', 'Can void an issued invoice'), ('write_off_invoice', 'Can write off an invoice as uncollectible')]},
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_number_iff_finalized',
        ),
        migrations.RemoveConstraint(
            model_name='lineusage',
            name='line_usage_billed_once',
        ),
        migrations.AddField(
            model_name='invoice',
            name='replaces',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replacement', to='invoicing.invoice'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='written_off_minor',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='lineusage',
            name='is_void',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='payment',
            name='is_recovery',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='status',
            field=models.CharField(choices=[('draft', 'Draft'), ('finalized', 'Finalized'), ('paid', 'Paid'), ('void', 'Void'), ('uncollectible', 'Uncollectible')], default='draft', max_length=13),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('applied_minor', 0), ('credited_minor', 0), ('finalized_at__isnull', True), ('number__isnull', True), ('open_minor', 0), ('paid_minor', 0), ('returned_minor', 0), ('sequence__isnull', True), ('status', 'draft'), ('written_off_minor', 0)), models.Q(('finalized_at__isnull', False), ('number__isnull', False), ('open_minor__gt', 0), ('sequence__isnull', False), ('status', 'finalized'), ('written_off_minor', 0)), models.Q(('finalized_at__isnull', False), ('number__isnull', False), ('open_minor', 0), ('sequence__isnull', False), ('status', 'paid'), ('written_off_minor', 0)), models.Q(('applied_minor', 0), ('credited_minor', 0), ('finalized_at__isnull', False), ('number__isnull', False), ('open_minor', 0), ('paid_minor', 0), ('returned_minor', 0), ('sequence__isnull', False), ('status', 'void'), ('written_off_minor', 0)), models.Q(('finalized_at__isnull', False), ('number__isnull', False), ('open_minor', 0), ('sequence__isnull', False), ('status', 'uncollectible'), ('written_off_minor__gt', 0)), _connector='OR'), name='invoice_number_iff_finalized'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('written_off_minor__gte', 0), ('written_off_minor__lte', django.db.models.expressions.CombinedExpression(models.F('total_minor'), '-', models.F('credited_minor')))), name='invoice_written_off_within_total'),
        ),
        migrations.AddConstraint(
            model_name='lineusage',
            constraint=models.UniqueConstraint(condition=models.Q(('is_void', False)), fields=('rated_usage', 'kind'), name='line_usage_billed_once'),
        ),
        migrations.AddField(
            model_name='invoicevoid',
            name='invoice',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='void', to='invoicing.invoice'),
        ),
        migrations.AddField(
            model_name='invoicevoid',
            name='voided_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='writeoff',
            name='invoice',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='write_off', to='invoicing.invoice'),
        ),
        migrations.AddField(
            model_name='writeoff',
            name='written_off_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='writeoff',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='write_off_amount_positive'),
        ),
        append_only("invoice_void"),
        append_only("write_off"),
        migrations.RunSQL(
            (SQL / "endings.sql").read_text(), (SQL / "endings_back.sql").read_text()
        ),
        own_search_path(
            "invoice_keep_issued",
            "invoice_follow_payment",
            "invoice_follow_credit_note",
            "invoice_follow_application",
            "invoice_follow_void",
            "invoice_follow_write_off",
        ),
    ]
