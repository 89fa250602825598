"""Checks of the books that hold facts against each other: what was written together says the same.

Sums do not tell when something happened, or by which rule. These checks do.
"""

from collections.abc import Iterator

from billing_project.kernel.books import Finding, check
from credits.checks import findings


@check("A grant says the same as the entry that filled it")
def grants_say_what_filled_them() -> Iterator[Finding]:
    """Compare when, by whom and why each grant was given with its granted transaction."""
    yield from findings(
        "credit_grant",
        "effective {}, given at {} by user {} for {}; its ledger says {}, {}, {} and {}",
        "SELECT g.id, g.effective_at, g.created_at, g.created_by_id, g.reason_code,"
        "       l.effective_at, l.recorded_at, l.recorded_by_id, l.reason_code"
        " FROM credit_grant g JOIN ledger_transaction l ON l.grant_id = g.id AND l.kind = 'granted'"
        " WHERE (g.effective_at, g.created_at, g.created_by_id, g.reason_code)"
        "    <> (l.effective_at, l.recorded_at, l.recorded_by_id, l.reason_code)",
    )


@check("A linked grant is its origin again, but for its amount and its life")
def links_are_their_origins() -> Iterator[Finding]:
    """Compare each linked grant with the grant that its credits left, and each with its buyer."""
    yield from findings(
        "credit_grant",
        "is not as grant {}, whose credits it holds",
        "SELECT g.id, o.id FROM credit_grant g JOIN credit_grant o ON o.id = g.origin_id"
        " WHERE (g.customer_id, g.pricing_unit_id, g.category, g.price_minor, g.currency, g.name,"
        "        g.priority, g.meter_codes, g.workspace_id, g.terms_id, g.root_id, g.basis_amount)"
        "  IS DISTINCT FROM"
        "       (o.customer_id, o.pricing_unit_id, o.category, o.price_minor, o.currency, o.name,"
        "        o.priority, o.meter_codes, o.workspace_id, o.terms_id, coalesce(o.root_id, o.id),"
        "        coalesce(o.basis_amount, o.amount))",
    )
    yield from findings(
        "credit_grant",
        "is in {}, its customer pays in {}",
        "SELECT g.id, g.currency, c.currency FROM credit_grant g"
        " JOIN customer c ON c.id = g.customer_id WHERE g.currency <> c.currency",
    )


@check("Grants of a rule are what it gives, and no two of them within one of its periods")
def rules_give_once_a_period() -> Iterator[Finding]:
    """Compare grants of recurring rules with the rule, and each with the one before."""
    yield from findings(
        "credit_grant",
        "is not what recurring grant {} gives",
        "SELECT g.id, r.id FROM credit_grant g JOIN recurring_grant r ON r.id = g.rule_id"
        " WHERE (g.pricing_unit_id, g.terms_id, g.workspace_id, g.reason_code, g.effective_at)"
        "  IS DISTINCT FROM"
        "       (r.pricing_unit_id, r.terms_id, r.workspace_id, r.reason_code, g.rule_period_at)",
    )
    yield from findings(
        "credit_grant",
        "was given for {}, the one before for {}: its rule gives every {} {}",
        "SELECT g.id, g.rule_period_at, g.before, r.interval_count, r.interval_unit FROM"
        " (SELECT id, rule_id, rule_period_at,"
        "         lag(rule_period_at) OVER (PARTITION BY rule_id ORDER BY rule_period_at) AS before"
        "  FROM credit_grant WHERE rule_id IS NOT NULL) g"
        " JOIN recurring_grant r ON r.id = g.rule_id"
        # No change of the clocks shifts a start by as much.
        " WHERE g.rule_period_at - g.before + interval '3 hours' < r.interval_count"
        "       * CASE r.interval_unit WHEN 'month' THEN interval '28 days'"
        "         WHEN 'week' THEN interval '7 days' ELSE interval '1 day' END",
    )


@check("What usage drew and gave back was written with its rated usage")
def burns_are_of_their_usage() -> Iterator[Finding]:
    """Compare customer, instants and key of each burn with its row of rated usage.

    What a credit note moves, it moves when it is issued or voided.
    """
    yield from findings(
        "ledger_transaction",
        "is not as rated usage {} moves credits of grant {}",
        "SELECT l.id, r.id, g.id FROM ledger_transaction l"
        " JOIN rated_usage r ON r.id = l.rated_usage_id JOIN credit_grant g ON g.id = l.grant_id"
        " JOIN billing_period p ON p.id = r.billing_period_id"
        " WHERE (l.customer_id, l.recorded_at, l.effective_at, l.source_key) <>"
        "       (r.customer_id, r.rated_at, greatest(g.effective_at,"
        "            CASE WHEN l.reason_code LIKE 'credit_note%%' THEN r.rated_at"
        "                 ELSE greatest(r.service_at, p.start_at) END),"
        "        r.source_key || ':grant:' || g.id)",
    )


@check("Rated usage is of its window, in its period and by its version")
def rated_usage_is_of_its_window() -> Iterator[Finding]:
    """Compare each row with its window, period and rate; its key says the window's revision."""
    yield from findings(
        "rated_usage",
        "is not of window {} as {} says",
        "SELECT r.id, w.id, r.source_key FROM rated_usage r"
        " JOIN usage_window w ON w.id = r.window_id"
        " JOIN rate t ON t.id = r.rate_id JOIN billing_period p ON p.id = r.billing_period_id"
        " WHERE (r.customer_id, p.customer_id, r.service_at, r.rate_card_version_id) <>"
        "       (w.customer_id, w.customer_id, w.start_at, t.version_id)"
        " OR r.source_key ~ ':r[0-9]+$'"
        "    AND r.source_key <> 'window:' || w.id || ':r' || r.window_revision"
        " OR r.source_key !~ '^window:[0-9]+:'",
    )
    yield from findings(
        "usage_window",
        "is kept as rated in period {} at rate {}, its rows say {} and {}",
        "SELECT k.window_id, k.billing_period_id, k.rate_id, f.period, f.rate FROM window_rating k"
        " JOIN (SELECT window_id, min(billing_period_id) AS period, min(rate_id) AS rate"
        "       FROM rated_usage GROUP BY window_id) f ON f.window_id = k.window_id"
        " WHERE (k.billing_period_id, k.rate_id) <> (f.period, f.rate)",
    )


@check("Facts of credits stand in the order in which they became known")
def facts_keep_their_order() -> Iterator[Finding]:
    """Look for facts of a customer whose position is before that of an earlier row."""
    for table in ("rated_usage", "ledger_transaction"):
        yield from findings(
            table,
            "stands at position {}, the one before it at {}",
            "SELECT id, position, before FROM (SELECT id, position,"  # noqa: S608
            " lag(position) OVER (PARTITION BY customer_id ORDER BY id) AS before"
            f" FROM {table}) f WHERE position < before",
        )
