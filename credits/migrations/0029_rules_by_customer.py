from django.db import migrations, models


class Migration(migrations.Migration):
    """A rule on what waits may be of one customer, or of each by itself."""

    dependencies = [
        ('credits', '0028_given_again_index'),
        ('metering', '0030_waiting_of_customer'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='alertrule',
            name='alert_rule_about',
        ),
        migrations.AddField(
            model_name='alertrule',
            name='is_by_customer',
            field=models.BooleanField(default=False, verbose_name='each customer by itself'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('meter__isnull', False), ('pricing_unit__isnull', True), ('watched', 'usage')), models.Q(('meter__isnull', True), ('pricing_unit__isnull', False), ('watched__in', ['balance', 'spend', 'forecast', 'change'])), models.Q(('pricing_unit__isnull', True), ('watched', 'unrated')), models.Q(('meter__isnull', True), ('pricing_unit__isnull', True), ('watched__in', ['quarantined', 'lag'])), _connector='OR'), name='alert_rule_about'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.CheckConstraint(condition=models.Q(('is_by_customer', False), models.Q(('customer__isnull', True), ('watched__in', ('unrated', 'quarantined', 'lag'))), _connector='OR'), name='alert_rule_by_customer'),
        ),
    ]
