from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import (
    append_only,
    joins_own_change,
    needs_approved,
    own_search_path,
)

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Payments that fall short by next to nothing, within what finance approved."""

    dependencies = [
        ('invoicing', '0037_gates_of_entities'),
        ('kernel', '0009_own_search_path'),
    ]

    operations = [
        migrations.CreateModel(
            name='PaymentTolerance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('number', models.PositiveIntegerField()),
                ('most_minor', models.BigIntegerField()),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'db_table': 'payment_tolerance',
                'ordering': ['currency', '-number'],
                'constraints': [models.UniqueConstraint(fields=('currency', 'number'), name='payment_tolerance_once'), models.CheckConstraint(condition=models.Q(('most_minor__gte', 0)), name='payment_tolerance_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='ShortPayment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('accepted_at', models.DateTimeField()),
                ('invoice', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='short_payment', to='invoicing.invoice')),
                ('payment', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='short_payment', to='invoicing.payment')),
                ('tolerance', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='invoicing.paymenttolerance')),
            ],
            options={
                'db_table': 'short_payment',
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='short_payment_amount_positive')],
            },
        ),
        append_only("payment_tolerance"),
        joins_own_change("payment_tolerance", "payment_tolerance"),
        append_only("short_payment"),
        needs_approved("short_payment", "tolerance_id", "payment_tolerance"),
        migrations.RunSQL(
            (SQL / "short_payment.sql").read_text(),
            "DROP TRIGGER follow_short_payment ON short_payment;"
            " DROP FUNCTION invoice_follow_short_payment",
        ),
        own_search_path("invoice_follow_short_payment"),
    ]
