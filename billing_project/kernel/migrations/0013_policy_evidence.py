import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only


class Migration(migrations.Migration):
    """Figures that are attached to proposals."""

    dependencies = [
        ('kernel', '0012_second_factor'),
    ]

    operations = [
        migrations.CreateModel(
            name='PolicyEvidence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=40)),
                ('title', models.CharField(max_length=200)),
                ('document', models.JSONField()),
                ('document_sha256', models.CharField(max_length=64)),
                ('content_sha256', models.CharField(max_length=64)),
                ('attached_at', models.DateTimeField()),
                ('attached_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('change', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='evidence', to='kernel.policychange')),
            ],
            options={
                'verbose_name_plural': 'policy evidence',
                'db_table': 'policy_evidence',
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('change', 'document_sha256'), name='policy_evidence_once')],
            },
        ),
        append_only("policy_evidence"),
    ]
