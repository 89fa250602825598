from django.db import migrations, models


class Migration(migrations.Migration):
    """Claw backs in the order of facts; those that are there come after all that returned by now.

    What came back to them until now was judged without them, and so it is replayed.
    """

    dependencies = [('credits', '0009_own_change')]
    operations = [
        migrations.AddField(
            model_name='clawback',
            name='position',
            field=models.BigIntegerField(db_default=models.Func(models.Value('credit_fact_position'), function='nextval'), editable=False),
        ),
    ]
