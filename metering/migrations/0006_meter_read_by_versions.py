from django.db import migrations, models


class Migration(migrations.Migration):
    """What versions say is no longer said by the meter."""

    dependencies = [('metering', '0005_meter_version')]
    operations = [
        # A default only, so that the way back can make the column before it is filled.
        migrations.AlterField(
            model_name='historicalmeter',
            name='event_name',
            field=models.CharField(db_index=True, default='', max_length=100),
        ),
        migrations.AlterField(
            model_name='meter',
            name='event_name',
            field=models.CharField(db_index=True, default='', max_length=100),
        ),
        migrations.RemoveField(
            model_name='historicalmeter',
            name='dimensions',
        ),
        migrations.RemoveField(
            model_name='historicalmeter',
            name='event_name',
        ),
        migrations.RemoveField(
            model_name='historicalmeter',
            name='filters',
        ),
        migrations.RemoveField(
            model_name='historicalmeter',
            name='value_property',
        ),
        migrations.RemoveField(
            model_name='meter',
            name='dimensions',
        ),
        migrations.RemoveField(
            model_name='meter',
            name='event_name',
        ),
        migrations.RemoveField(
            model_name='meter',
            name='filters',
        ),
        migrations.RemoveField(
            model_name='meter',
            name='value_property',
        ),
        migrations.AlterField(
            model_name='historicalmeter',
            name='aggregation',
            field=models.CharField(choices=[('sum', 'Sum'), ('count', 'Count'), ('max', 'Max'), ('min', 'Min'), ('last', 'Last'), ('unique', 'Unique'), ('time_weighted_sum', 'Time Weighted Sum')], max_length=20),
        ),
        migrations.AlterField(
            model_name='meter',
            name='aggregation',
            field=models.CharField(choices=[('sum', 'Sum'), ('count', 'Count'), ('max', 'Max'), ('min', 'Min'), ('last', 'Last'), ('unique', 'Unique'), ('time_weighted_sum', 'Time Weighted Sum')], max_length=20),
        ),
    ]
