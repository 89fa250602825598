"""Checks of the books about the lives of grants: ends, returns, links, terms and rules."""

from collections.abc import Iterator

from billing_project.kernel.books import Finding, check
from credits.checks import findings


@check("What left a grant for another is what linked grants were given")
def links_keep_credits() -> Iterator[Finding]:
    """Compare by origin what rolled over with the amounts of its linked grants."""
    yield from findings(
        "credit_grant",
        "{} rolled over, linked grants were given {}",
        "SELECT id, sum(rolled), sum(given) FROM"
        " (SELECT grant_id AS id, -credits AS rolled, 0 AS given FROM ledger_transaction"
        "   WHERE kind = 'rolled_over'"
        "  UNION ALL SELECT origin_id, 0, amount FROM credit_grant WHERE origin_id IS NOT NULL) u"
        " GROUP BY id HAVING sum(rolled) <> sum(given)",
    )


@check("No more was reinstated of a grant than had expired or was voided")
def reinstated_was_taken() -> Iterator[Finding]:
    """Compare by grant what came back with what had been taken."""
    yield from findings(
        "credit_grant",
        "taken {}, reinstated {}",
        "SELECT grant_id, -coalesce(sum(credits) FILTER (WHERE kind <> 'reinstated'), 0),"
        "       sum(credits) FILTER (WHERE kind = 'reinstated') FROM ledger_transaction"
        " WHERE kind IN ('expired', 'voided', 'reinstated') GROUP BY grant_id"
        " HAVING sum(credits) > 0",
    )


@check("At no position of the ledger has a grant less than nothing, or more than its amount")
def grants_stay_in_bounds() -> Iterator[Finding]:
    """Fold each grant's ledger entry by entry, in the order in which it became known."""
    yield from findings(
        "credit_grant",
        "between {} and {} of {}",
        "SELECT g.id, min(f.so_far), max(f.so_far), g.amount FROM credit_grant g JOIN"
        " (SELECT grant_id, sum(credits) OVER (PARTITION BY grant_id ORDER BY position) AS so_far"
        "   FROM ledger_transaction) f ON f.grant_id = g.id"
        " GROUP BY g.id HAVING min(f.so_far) < 0 OR max(f.so_far) > g.amount",
    )


@check("Grants are what the terms say under which they were given")
def grants_follow_terms() -> Iterator[Finding]:
    """Compare category, priority and meters with the terms' version that a grant names."""
    yield from findings(
        "credit_grant",
        "{} at priority {}, its terms say {} at {}",
        "SELECT g.id, g.category, g.priority, t.category, t.priority FROM credit_grant g"
        " JOIN grant_terms t ON t.id = g.terms_id WHERE g.category <> t.category"
        " OR g.priority <> t.priority OR g.meter_codes <> t.meter_codes",
    )


@check("Grants of a rule are of its amount and for periods of it")
def rules_give_their_amount() -> Iterator[Finding]:
    """Compare grants of recurring rules with the rule."""
    yield from findings(
        "credit_grant",
        "{} for the period from {}, the rule gives {} from {}",
        "SELECT g.id, g.amount, g.rule_period_at, r.amount, r.start_at FROM credit_grant g"
        " JOIN recurring_grant r ON r.id = g.rule_id WHERE g.amount <> r.amount"
        " OR g.rule_period_at < r.start_at OR g.customer_id <> r.customer_id",
    )


@check("A purchase was clawed back once")
def clawed_back_once() -> Iterator[Finding]:
    """Compare what claw backs say they took with the voids that they entered."""
    yield from findings(
        "claw_back",
        "took {}, the ledger says {}",
        "SELECT c.id, c.credits, coalesce(-sum(l.credits), 0) FROM claw_back c"
        " LEFT JOIN ledger_transaction l ON l.kind = 'voided'"
        "  AND l.source_key LIKE 'claw_back:' || c.id || ':grant:%'"
        " GROUP BY c.id HAVING c.credits <> coalesce(-sum(l.credits), 0)",
    )
