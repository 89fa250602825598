from django.db import migrations

from billing_project.kernel.guards import own_search_path


class Migration(migrations.Migration):
    """Guards of credits find their tables whoever calls."""

    dependencies = [("credits", "0010_position_of_claw_backs"), ("kernel", "0009_own_search_path")]
    operations = [
        own_search_path(
            "credit_grant_follow_ledger",
            "credit_grant_link_fits",
            "rated_usage_follow",
            "rate_pin_only_proposed",
            "rate_card_override_fits",
            "credits_require_own_change",
        ),
    ]
