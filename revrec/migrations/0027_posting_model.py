from django.db import migrations, models


class Migration(migrations.Migration):
    """Whose use a posting earned; those of before name no model, and keep their hashes."""

    dependencies = [
        ('revrec', '0026_opening_balances'),
    ]

    operations = [
        migrations.AddField(
            model_name='posting',
            name='model',
            field=models.CharField(blank=True, max_length=1000, null=True),
        ),
        migrations.AlterField(
            model_name='journalexport',
            name='layout',
            field=models.PositiveSmallIntegerField(choices=[(1, 'amounts'), (2, 'worth'), (3, 'model')], db_default=1),
        ),
        migrations.AddConstraint(
            model_name='posting',
            constraint=models.CheckConstraint(condition=models.Q(('model', ''), _negated=True), name='posting_model_named'),
        ),
    ]
