"""Checks of the request path: holds and counters say what their facts say."""

from collections.abc import Iterator

from billing_project.kernel.books import Finding, check
from credits.checks import findings
from credits.selectors.checkpoint_facts import unlike_signed
from credits.selectors.hourly import drifted_hours
from credits.selectors.spending import drifted_counters


@check("Holds that were let begin have their decision, and the same credits")
def holds_follow_decisions() -> Iterator[Finding]:
    """Compare each open hold with its authorization, and each allowed one with its hold."""
    yield from findings(
        "spend_authorization",
        "{} credits decided, {} held",
        "SELECT a.id, a.credits, h.credits FROM spend_authorization a"
        " LEFT JOIN hold h ON h.authorization_id = a.id"
        " WHERE a.is_allowed <> (h.id IS NOT NULL)"
        " OR h.state = 'open' AND h.credits <> a.credits",
    )


@check("Counters of spend limits are what was rated in their windows")
def counters_follow_rated_usage() -> Iterator[Finding]:
    """Fold rated usage of each counter's scope again, as far as the counter has read."""
    for counter_id, counted, rated in drifted_counters():
        yield Finding(f"spend_counter:{counter_id}", f"{rated} rated, {counted} counted")


@check("Hours that anomalies are looked for in are what their facts sum to")
def hours_follow_facts() -> Iterator[Finding]:
    """Fold rated usage, windows and holds of each kept hour again, as far as they were read."""
    for customer_id, message in drifted_hours():
        yield Finding(f"customer:{customer_id}", message)


@check("Checkpoints of the controls are what was prepared and signed")
def checkpoints_are_as_signed() -> Iterator[Finding]:
    """Take the hash of each again, and hold it against what its signer signed."""
    for checkpoint_id, message in unlike_signed():
        yield Finding(f"controlcheckpoint:{checkpoint_id}", message)
