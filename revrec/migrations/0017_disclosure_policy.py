import django.db.models.deletion
from django.db import migrations, models

from billing_project.kernel.guards import append_only, joins_own_change


class Migration(migrations.Migration):
    """Which exemptions the notes use, and which credits no estimate of breakage is about."""

    dependencies = [
        ('kernel', '0009_own_search_path'),
        ('revrec', '0016_functional_currency'),
    ]

    operations = [
        migrations.AddField(
            model_name='breakageestimate',
            name='refundable_terms',
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.CreateModel(
            name='DisclosurePolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(unique=True)),
                ('framework', models.CharField(choices=[('ifrs', 'ifrs'), ('us_gaap', 'us_gaap')], max_length=8)),
                ('exempts_short', models.BooleanField()),
                ('exempts_as_invoiced', models.BooleanField()),
                ('exempts_usage', models.BooleanField()),
                ('policy_change', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='kernel.policychange')),
            ],
            options={
                'verbose_name_plural': 'disclosure policies',
                'db_table': 'disclosure_policy',
                'ordering': ['-number'],
                'constraints': [models.CheckConstraint(condition=models.Q(('framework', 'us_gaap'), models.Q(('exempts_usage', False), ('framework', 'ifrs')), _connector='OR'), name='disclosure_policy_of_framework')],
            },
        ),
        append_only("disclosure_policy"),
        joins_own_change("disclosure_policy", "disclosure_policy"),
    ]
