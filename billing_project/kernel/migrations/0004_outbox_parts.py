from django.db import migrations, models


class Migration(migrations.Migration):
    """A note may name the parts of its object that changed."""

    dependencies = [
        ('kernel', '0003_withdrawn_changes'),
    ]

    operations = [
        migrations.AddField(
            model_name='outboxmessage',
            name='parts',
            field=models.JSONField(blank=True, null=True),
        ),
    ]
