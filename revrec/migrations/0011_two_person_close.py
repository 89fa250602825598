from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only, own_search_path

SQL = Path(__file__).parent / "sql"
_STATE = "'status', 'closed_at', 'closed_by_id', 'trial_balance', 'trial_balance_sha256'"
_MORE = ", 'soft_closed_at', 'soft_closed_by_id', 'checklist'"


def _keeping(columns):
    return [
        "DROP TRIGGER keep_rows ON accounting_period",
        "CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON accounting_period FOR EACH ROW"
        f" EXECUTE FUNCTION kernel_refuse_other_changes({columns})",
        "ALTER TABLE accounting_period ENABLE ALWAYS TRIGGER keep_rows",
    ]


class Migration(migrations.Migration):
    """A month closes by two people, with its checklist met or signed for."""

    dependencies = [
        ('revrec', '0010_outcome_obligation'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CloseException',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('item', models.CharField(max_length=20)),
                ('step', models.CharField(choices=[('capture', 'Capture'), ('aggregate', 'Aggregate'), ('rate', 'Rate'), ('draw_down', 'Draw down'), ('invoice', 'Invoice'), ('recognise', 'Recognise')], max_length=12)),
                ('says', models.CharField(max_length=500)),
                ('reason', models.TextField()),
                ('signed_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'close_exception',
                'ordering': ['-id'],
            },
        ),
        migrations.AlterModelOptions(
            name='accountingperiod',
            options={'ordering': ['start_on'], 'permissions': [('propose_close', 'Can propose the close of an accounting period'), ('close_accountingperiod', 'Can close an accounting period')]},
        ),
        migrations.RemoveConstraint(
            model_name='accountingperiod',
            name='accounting_period_closed_by_someone',
        ),
        migrations.AddField(
            model_name='accountingperiod',
            name='checklist',
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.AddField(
            model_name='accountingperiod',
            name='soft_closed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='accountingperiod',
            name='soft_closed_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='accountingperiod',
            name='status',
            field=models.CharField(choices=[('open', 'Open'), ('soft', 'soft close'), ('closed', 'Closed')], default='open', max_length=6),
        ),
        migrations.AddConstraint(
            model_name='accountingperiod',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', False), ('closed_by__isnull', False), ('status', 'closed')), models.Q(('closed_at__isnull', True), ('closed_by__isnull', True), ('status__in', ['open', 'soft'])), _connector='OR'), name='accounting_period_closed_by_someone'),
        ),
        migrations.AddConstraint(
            model_name='accountingperiod',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('soft_closed_at__isnull', True), ('soft_closed_by__isnull', True), ('status', 'open')), models.Q(('soft_closed_at__isnull', False), ('soft_closed_by__isnull', False), ('status', 'soft')), ('status', 'closed'), _connector='OR'), name='accounting_period_proposed_by_someone'),
        ),
        migrations.AddField(
            model_name='closeexception',
            name='period',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='revrec.accountingperiod'),
        ),
        migrations.AddField(
            model_name='closeexception',
            name='signed_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='closeexception',
            constraint=models.UniqueConstraint(fields=('period', 'item', 'says'), name='close_exception_once'),
        ),
        migrations.AddConstraint(
            model_name='closeexception',
            constraint=models.CheckConstraint(condition=models.Q(('reason__regex', '^\\s*$'), _negated=True), name='close_exception_has_reason'),
        ),
        append_only("close_exception"),
        migrations.RunSQL(_keeping(_STATE + _MORE), _keeping(_STATE)),
        migrations.RunSQL(
            (SQL / "two_person_close.sql").read_text(),
            (SQL / "two_person_close_back.sql").read_text(),
        ),
        own_search_path("journal_entry_open_period", "accounting_period_close_once"),
    ]
