from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('kernel', '0013_policy_evidence'),
        ('revrec', '0027_posting_model'),
    ]

    operations = [
        migrations.AddField(
            model_name='breakageestimate',
            name='of_commitments',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name='breakageestimate',
            constraint=models.CheckConstraint(condition=models.Q(('of_commitments', False), models.Q(('method', 'escheat'), _negated=True), _connector='OR'), name='breakage_estimate_shortfall_is_kept'),
        ),
    ]
