from django.db import migrations, models


class Migration(migrations.Migration):
    """Counters keep the end of their window: a customer's time zone may change.

    Counters are folds of rated usage: without them each is folded again when it is next asked for.
    """

    dependencies = [("credits", "0015_period_cut")]
    operations = [
        migrations.RunSQL("DELETE FROM spend_counter", "DELETE FROM spend_counter"),
        migrations.RemoveConstraint(model_name="spendcounter", name="spend_counter_once"),
        migrations.RemoveField(model_name="spendcounter", name="warned_percent"),
        migrations.AddField(
            model_name="spendcounter",
            name="end_at",
            field=models.DateTimeField(default=None),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            model_name="spendcounter",
            constraint=models.UniqueConstraint(
                fields=("limit", "start_at", "end_at"), name="spend_counter_once"
            ),
        ),
    ]
