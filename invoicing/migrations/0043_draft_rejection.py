import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only


class Migration(migrations.Migration):
    """Held drafts that an approver rejected; markets that are closed hold by a cause of their own."""

    dependencies = [
        ('invoicing', '0042_covered_periods'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='billinghold',
            name='cause',
            field=models.CharField(choices=[('approval', 'the policy asks for an approval'), ('incomplete', 'usage of its period is not billed and not excluded'), ('bounds', 'larger than a run may make'), ('market', 'its market is not open, or lacks an approved rate or seller'), ('rejected', 'the draft of its usage was rejected'), ('fault', 'it could not be made')], max_length=10),
        ),
        migrations.CreateModel(
            name='DraftRejection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('total_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('reason', models.CharField(max_length=500)),
                ('rejected_at', models.DateTimeField()),
                ('hold', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='rejection', to='invoicing.billinghold')),
                ('rejected_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'draft_rejection',
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('reason__gt', ''), ('total_minor__gte', 0)), name='draft_rejection_says_why')],
            },
        ),
        append_only("draft_rejection"),
    ]
