"""Facts that were marked as moving no money although they do; an empty answer is the proof.

A source row without an entry says that a fact was looked at and there was nothing to post. Anybody
who can write such a row can hide a fact from the books, and no constraint can tell: what a fact
moves is arithmetic over its grant or period. So it is worked out again here. Single drawdowns and
accruals are covered by the cumulative ties of `tieouts` (grants, unbilled receivable), which sum
silent facts like all others; those ties start from promises, so that a promise which was never made
is looked for here.
"""

from collections.abc import Iterator

from revrec.selectors.tieouts import Mismatch, mismatches

# Facts that always move money, by an amount of theirs: (kind of fact, its rows).
_CLAIMS = (
    (
        "invoice_line",
        "SELECT l.id, l.amount_minor FROM invoice_line l"
        " JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft'",
    ),
    ("payment", "SELECT id, amount_minor FROM payment"),
    ("short_payment", "SELECT id, amount_minor FROM short_payment"),
    ("credit_note", "SELECT id, total_minor AS amount_minor FROM credit_note"),
    (
        "credit_note_void",
        "SELECT v.id, n.total_minor AS amount_minor"
        " FROM credit_note_void v JOIN credit_note n ON n.id = v.credit_note_id",
    ),
    (
        "invoice_void",
        "SELECT v.id, i.total_minor AS amount_minor"
        " FROM invoice_void v JOIN invoice i ON i.id = v.invoice_id",
    ),
    ("write_off", "SELECT id, amount_minor FROM write_off"),
    ("balance_application", "SELECT id, amount_minor FROM balance_application"),
    ("refund", "SELECT id, amount_minor FROM refund"),
    (
        "refund_failure",
        "SELECT f.id, r.amount_minor FROM refund_failure f JOIN refund r ON r.id = f.refund_id",
    ),
    ("overpayment", "SELECT id, amount_minor FROM overpayment"),
    ("processor_fee", "SELECT id, amount_minor FROM processor_fee"),
    ("dispute", "SELECT id, amount_minor FROM dispute"),
    (
        "dispute_outcome",
        "SELECT o.id, d.amount_minor FROM dispute_outcome o JOIN dispute d ON d.id = o.dispute_id",
    ),
    ("revenue_schedule_line", "SELECT id, amount_minor FROM revenue_schedule_line"),
)
_ACCOUNTED_TRANSACTION = (
    "SELECT t.id, t.grant_id, t.kind, t.credits, t.reason_code FROM ledger_transaction t"
    " JOIN entry_source s"
    " ON s.source_type = 'ledger_transaction' AND s.role = 'recognised' AND s.source_id = t.id"
)
# A grant that cost money owes its credits from the first: its promise is made with its entry.
_UNPROMISED_GRANTS = (
    "SELECT 'grant:' || g.id, 'a promise of ' || g.price_minor, 'none'"  # noqa: S608 - constants
    f"  FROM credit_grant g JOIN ({_ACCOUNTED_TRANSACTION}) t ON t.grant_id = g.id"
    " WHERE t.kind = 'granted' AND g.price_minor > 0 AND g.origin_id IS NULL"
    "   AND NOT EXISTS (SELECT FROM performance_obligation o WHERE o.grant_id = g.id)"
    " ORDER BY g.id"
)
# The end of a promise's last credits takes all that is left of its price.
_UNFINISHED_GRANTS = (
    "SELECT 'grant:' || o.grant_id, o.price_minor::text, o.recognised_minor::text"  # noqa: S608
    "  FROM performance_obligation o JOIN ("
    "      SELECT coalesce(g.root_id, g.id) AS grant_id,"
    "             sum(t.credits) AS credits, bool_or(t.kind IN ('expired', 'voided')) AS is_ended"
    f"        FROM ({_ACCOUNTED_TRANSACTION}) t JOIN credit_grant g ON g.id = t.grant_id"
    "       WHERE t.reason_code NOT IN ('disputed', 'dispute_closed')"  # Frozen is not ended.
    "       GROUP BY 1) chain ON chain.grant_id = o.grant_id"
    " WHERE chain.credits = 0 AND chain.is_ended AND o.recognised_minor <> o.price_minor"
    " ORDER BY o.grant_id"
)
_UNPROMISED_OVERAGE = (
    "SELECT DISTINCT 'billing_period:' || u.billing_period_id, 'a promise', 'none'"
    "  FROM rated_usage u JOIN entry_source s"
    "    ON s.source_type = 'rated_usage' AND s.role = 'accrued' AND s.source_id = u.id"
    " WHERE u.overage <> 0 AND NOT EXISTS ("
    "       SELECT FROM performance_obligation o"
    "        WHERE o.billing_period_id = u.billing_period_id AND o.kind = 'overage')"
    " ORDER BY 1"
)


def silent_claims() -> Iterator[Mismatch]:
    """List claims, payments, notes, refunds and fee days of some amount that have no entry."""
    for source_type, rows in _CLAIMS:
        yield from mismatches(
            f"SELECT '{source_type}:' || f.id, 'an entry of ' || f.amount_minor, 'none'"  # noqa: S608
            f" FROM ({rows}) f JOIN entry_source s ON s.source_id = f.id"
            f"  AND s.source_type = '{source_type}' AND s.entry_id IS NULL"
            " WHERE f.amount_minor <> 0 ORDER BY f.id"
        )


def silent_grants() -> Iterator[Mismatch]:
    """List paid grants that were marked without a promise, or ended without earning their price."""
    yield from mismatches(_UNPROMISED_GRANTS)
    yield from mismatches(_UNFINISHED_GRANTS)


def silent_overage() -> Iterator[Mismatch]:
    """List billing periods whose overage was marked without a promise to sum it in."""
    yield from mismatches(_UNPROMISED_OVERAGE)
