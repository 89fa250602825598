import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only


class Migration(migrations.Migration):
    """What Stripe is told beside money: usage, grants and copies of invoices."""

    dependencies = [
        ('invoicing', '0035_invoice_split'),
        ('metering', '0027_late_events_are_finances'),
    ]

    operations = [
        migrations.CreateModel(
            name='MirroredUsage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('revision', models.IntegerField()),
                ('quantity', models.DecimalField(decimal_places=12, max_digits=50)),
            ],
            options={
                'db_table': 'mirrored_usage',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='StripeMeter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=100, unique=True)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'stripe_meter',
                'ordering': ['-id'],
            },
        ),
        migrations.AlterField(
            model_name='stripecall',
            name='customer',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer'),
        ),
        migrations.AlterField(
            model_name='stripecall',
            name='kind',
            field=models.CharField(choices=[('customer', 'Customer'), ('setup', 'Setup'), ('payment', 'Payment'), ('refund', 'Refund'), ('meter', 'Meter'), ('usage', 'Usage'), ('grant', 'Grant'), ('copy', 'Copy'), ('copy_lines', 'Copy Lines')], max_length=10),
        ),
        migrations.AddConstraint(
            model_name='stripecall',
            constraint=models.CheckConstraint(condition=models.Q(('customer__isnull', False), ('kind', 'meter'), _connector='OR'), name='stripe_call_has_customer'),
        ),
        migrations.AddField(
            model_name='mirroredusage',
            name='call',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='usage', to='invoicing.stripecall'),
        ),
        migrations.AddField(
            model_name='mirroredusage',
            name='window',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.usagewindow'),
        ),
        migrations.AddField(
            model_name='stripemeter',
            name='meter',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.meter'),
        ),
        migrations.AddConstraint(
            model_name='mirroredusage',
            constraint=models.UniqueConstraint(fields=('window', 'revision'), name='mirrored_usage_once'),
        ),
        migrations.AddConstraint(
            model_name='mirroredusage',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__gt', -100000000000000000000000000000000000000), ('quantity__lt', 100000000000000000000000000000000000000), models.Q(('quantity', 0), _negated=True)), name='mirrored_usage_says_something'),
        ),
        append_only("mirrored_usage"),
        append_only("stripe_meter"),
    ]
