import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only


def _keep(columns: str) -> list[str]:
    return [
        "DROP TRIGGER keep_rows ON opening_item",
        "CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON opening_item FOR EACH ROW"
        f" EXECUTE FUNCTION kernel_refuse_other_changes({columns})",
        "ALTER TABLE opening_item ENABLE ALWAYS TRIGGER keep_rows",
    ]


class Migration(migrations.Migration):
    """Items that failed wait for a person after a few attempts; a person explains differences."""

    dependencies = [
        ('invoicing', '0048_commitment_item'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='OpeningExplanation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('customer', models.CharField(max_length=128)),
                ('what', models.CharField(max_length=40)),
                ('unit', models.CharField(blank=True, max_length=32)),
                ('difference', models.DecimalField(decimal_places=12, max_digits=38)),
                ('reason', models.CharField(max_length=1000)),
                ('explained_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'opening_explanation',
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='openingitem',
            name='attempt_count',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='openingitem',
            name='given_up_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='openingitem',
            constraint=models.CheckConstraint(condition=models.Q(('given_up_at__isnull', True), ('state', 'failed'), _connector='OR'), name='opening_item_given_up_failed'),
        ),
        migrations.AddField(
            model_name='openingexplanation',
            name='explained_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='openingexplanation',
            name='opening_import',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='explanations', to='invoicing.openingimport'),
        ),
        migrations.AddConstraint(
            model_name='openingexplanation',
            constraint=models.UniqueConstraint(fields=('opening_import', 'customer', 'what', 'unit', 'difference'), name='opening_explanation_once'),
        ),
        migrations.AddConstraint(
            model_name='openingexplanation',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('difference', 0), _negated=True), models.Q(('reason__regex', '^\\s*$'), _negated=True)), name='opening_explanation_says_why'),
        ),
        append_only("opening_explanation"),
        migrations.RunSQL(
            _keep("'state', 'detail', 'made', 'done_at', 'attempt_count', 'given_up_at'"),
            _keep("'state', 'detail', 'made', 'done_at'"),
        ),
    ]
