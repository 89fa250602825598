import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change


class Migration(migrations.Migration):
    """Whether fees earn by day or by month, and when statements show what is not due yet."""

    dependencies = [
        ('kernel', '0013_policy_evidence'),
        ('revrec', '0023_contract_modification'),
    ]

    operations = [
        migrations.CreateModel(
            name='RecognitionPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('granularity', models.CharField(choices=[('day', 'by day'), ('month', 'by month')], max_length=5)),
                ('presentation', models.CharField(choices=[('finalise', 'with the invoice'), ('due', 'once due or paid')], max_length=8)),
            ],
            options={
                'verbose_name_plural': 'recognition policies',
                'db_table': 'recognition_policy',
                'ordering': ['-number'],
            },
        ),
        migrations.AddField(
            model_name='revenueschedule',
            name='pattern',
            field=models.CharField(db_default='day', default='day', max_length=5),
        ),
        migrations.AddConstraint(
            model_name='revenueschedule',
            constraint=models.CheckConstraint(condition=models.Q(('pattern__in', ['day', 'month'])), name='revenue_schedule_pattern'),
        ),
        migrations.AddField(
            model_name='recognitionpolicy',
            name='policy_change',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange'),
        ),
        append_only("recognition_policy"),
        joins_own_change("recognition_policy", "recognition_policy"),
    ]
