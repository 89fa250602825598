"""Checks of the books that this app answers for: windows, rated usage, grants and ledger agree.

What waits to be rated is no finding: a window counts only at the revision that was rated.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Sum

from billing_project.kernel.books import Finding, check
from credits.costing import cost_of
from credits.models import LedgerTransaction, Rate, RatedUsage
from credits.selectors import unrated_windows
from credits.selectors.facts import Rulebook
from credits.selectors.tariffs import tariff_of_rate
from credits.tariff import Tariff
from metering.aggregation import ADDITIVE
from metering.models import UsageWindow
from metering.selectors.windows import period_quantity


@check("Usage windows in billing periods are what was rated of them")
def windows_are_rated() -> Iterator[Finding]:
    """Compare each window of a sum or count with its rated quantity, unless it changed since."""
    yield from findings(
        "usage_window",
        "{} used, {} rated",
        "SELECT id, sum(used), sum(rated) FROM"
        " (SELECT w.id, w.quantity AS used, 0 AS rated, w.revision AS wanted, 0 AS reached"
        "  FROM usage_window w JOIN meter m ON m.id = w.meter_id AND m.aggregation = ANY(%s)"
        "  UNION ALL"
        "  SELECT r.window_id, 0, r.quantity, NULL, r.window_revision FROM rated_usage r) u"
        " GROUP BY id HAVING max(reached) >= max(wanted) AND sum(used) <> sum(rated)",
        [sorted(ADDITIVE)],
    )


@check("Meters with one quantity a period are rated at that quantity")
def period_quantities_are_rated() -> Iterator[Finding]:
    """Compare what a max, last or unique came to with what was rated of it, unless it changed."""
    rated = RatedUsage.objects.exclude(window__meter__aggregation__in=ADDITIVE)
    groups = rated.order_by().values_list(
        "billing_period", "window__meter", "window__workspace", "window__dimensions_key"
    )
    waiting = set(unrated_windows().values_list("customer_id", "meter_id"))
    for period_id, *_, total, window_id in groups.annotate(Sum("quantity"), Max("window_id")):
        window = UsageWindow.objects.select_related("meter").get(pk=window_id)
        rules = Rulebook(window.customer_id)
        hours = rules.hours_of(next(p for p in rules.periods if p.pk == period_id))
        quantity = period_quantity(window, hours.start, hours.end)
        if quantity != total and (window.customer_id, window.meter_id) not in waiting:
            yield Finding(f"usage_window:{window_id}", f"{quantity} in its period, {total} rated")


@check("No usage window in a billing period is forgotten")
def no_window_is_forgotten() -> Iterator[Finding]:
    """Find changed windows of periods that nothing will take up: no note waits for them."""
    yield from findings(
        "customer",
        "{} usage windows wait to be rated, and no note says so",
        "SELECT w.customer_id, count(*) FROM usage_window w"
        " WHERE NOT EXISTS (SELECT 1 FROM rated_usage r"
        "                   WHERE r.window_id = w.id AND r.window_revision >= w.revision)"
        " AND EXISTS (SELECT 1 FROM billing_period p WHERE p.customer_id = w.customer_id"
        "             AND p.start_at < w.start_at + interval '1 hour' AND p.end_at > w.start_at)"
        " AND NOT EXISTS (SELECT 1 FROM outbox_message o WHERE o.object_id = w.customer_id"
        "                 AND (o.topic = 'rating_blocked' OR o.topic = 'usage_changed'"
        "                      AND (o.parts IS NULL OR o.parts @> to_jsonb(w.id))))"
        " GROUP BY w.customer_id",
    )


@check("What is kept of rated usage is what its rows sum to")
def totals_follow_rated_usage() -> Iterator[Finding]:
    """Fold rated usage by window, and by period, rate and workspace; compare with what is kept."""
    yield from findings(
        "usage_window",
        "rated {} by its rows, {} kept",
        "SELECT id, sum(rated), sum(kept) FROM"
        " (SELECT window_id AS id, quantity AS rated, 0 AS kept, window_revision AS reached,"
        "         NULL AS known FROM rated_usage"
        "  UNION ALL SELECT window_id, 0, quantity, NULL, revision FROM window_rating) u"
        " GROUP BY id HAVING sum(rated) <> sum(kept)"
        " OR max(reached) IS DISTINCT FROM max(known)",
    )
    yield from findings(
        "billing_period",
        "rate {} came to {} for {}, kept are {} for {}",
        "SELECT period, rate, sum(charge), sum(quantity), sum(charge_kept), sum(quantity_kept) FROM"
        " (SELECT r.billing_period_id AS period, r.rate_id AS rate, w.workspace_id AS place,"
        "         r.charge, r.quantity, 0 AS charge_kept, 0 AS quantity_kept"
        "  FROM rated_usage r JOIN usage_window w ON w.id = r.window_id"
        "  UNION ALL SELECT billing_period_id, rate_id, workspace_id, 0, 0, charge, quantity"
        "  FROM rate_total) u"
        " GROUP BY period, rate, place HAVING sum(charge) <> sum(charge_kept)"
        " OR sum(quantity) <> sum(quantity_kept)",
    )


@check("Rated usage has its quantity's price at its rate")
def charges_follow_rates() -> Iterator[Finding]:
    """Price each quantity that a rate pools again, whole; differences never accumulate."""
    tariffs: dict[int, Tariff] = {}
    for period, rate_id, workspace, charged, quantity in _rows(
        "SELECT billing_period_id, rate_id, workspace, sum(charge), sum(quantity) FROM"
        " (SELECT r.billing_period_id, r.rate_id, r.charge, r.quantity,"
        "         CASE t.pools WHEN 'workspace' THEN w.workspace_id END AS workspace"
        "  FROM rated_usage r JOIN rate t ON t.id = r.rate_id"
        "  JOIN usage_window w ON w.id = r.window_id) u"
        " GROUP BY billing_period_id, rate_id, workspace"
    ):
        if rate_id not in tariffs:
            tariffs[rate_id] = tariff_of_rate(Rate.objects.get(pk=rate_id))
        due = tariffs[rate_id].charge(quantity).total
        if charged != due:
            what = f"charged {charged} at rate {rate_id} in workspace {workspace}, due {due}"
            yield Finding(f"billing_period:{period}", what)


@check("Rated charges are drawn, overage or forgiven, to the last digit")
def charges_are_paid() -> Iterator[Finding]:
    """Compare each row's charge with its parts."""
    yield from findings(
        "rated_usage",
        "charge {}, drawn {}, overage {}, forgiven {}",
        "SELECT id, charge, drawn, overage, forgiven FROM rated_usage"
        " WHERE charge <> drawn + overage + forgiven",
    )


@check("What rated usage drew is what the ledger says")
def drawn_is_in_the_ledger() -> Iterator[Finding]:
    """Compare each row's drawn credits with its ledger transactions."""
    yield from findings(
        "rated_usage",
        "drawn {}, ledger {}",
        "SELECT id, sum(drawn), sum(entered) FROM"
        " (SELECT id, drawn, 0 AS entered FROM rated_usage UNION ALL"
        "  SELECT rated_usage_id, 0, -credits FROM ledger_transaction"
        "  WHERE rated_usage_id IS NOT NULL) u GROUP BY id HAVING sum(drawn) <> sum(entered)",
    )


@check("Billing periods owe no negative overage, and forgive none")
def overage_is_never_negative() -> Iterator[Finding]:
    """Sum what each period owes and forgives; corrections reverse no more than there was."""
    yield from findings(
        "billing_period",
        "overage {}, forgiven {}",
        "SELECT billing_period_id, sum(overage), sum(forgiven) FROM rated_usage"
        " GROUP BY billing_period_id HAVING sum(overage) < 0 OR sum(forgiven) < 0",
    )


@check("Each grant has left what its ledger transactions sum to")
def grants_follow_the_ledger() -> Iterator[Finding]:
    """Fold the ledger by grant and compare with the guarded column."""
    yield from findings(
        "credit_grant",
        "remaining {}, ledger {}",
        "SELECT id, sum(remaining), sum(entered) FROM"
        " (SELECT id, remaining, 0 AS entered FROM credit_grant UNION ALL"
        "  SELECT grant_id, 0, credits FROM ledger_transaction) u"
        " GROUP BY id HAVING sum(remaining) <> sum(entered)",
    )


@check("Each grant was filled once, with its amount, and belongs to its ledger's customer")
def grants_are_filled_once() -> Iterator[Finding]:
    """Find grants whose granted transaction is missing or differs."""
    yield from findings(
        "credit_grant",
        "amount {}, granted {}",
        "SELECT g.id, g.amount, sum(l.credits) FILTER (WHERE l.kind = 'granted')"
        " FROM credit_grant g LEFT JOIN ledger_transaction l ON l.grant_id = g.id GROUP BY g.id"
        " HAVING sum(l.credits) FILTER (WHERE l.kind = 'granted') IS DISTINCT FROM g.amount"
        " OR bool_or(l.customer_id <> g.customer_id)",
    )


@check("Grants are drawn only in hours in which they are in force, and within their scope")
def draws_respect_grants() -> Iterator[Finding]:
    """Compare each draw's hour, cut to its period, with the grant's life; and their scopes."""
    yield from findings(
        "ledger_transaction",
        "drawn for usage at {} that grant {} does not admit",
        "SELECT l.id, r.service_at, g.id FROM ledger_transaction l"
        " JOIN credit_grant g ON g.id = l.grant_id JOIN rated_usage r ON r.id = l.rated_usage_id"
        " LEFT JOIN credit_grant o ON o.id = g.origin_id"
        " JOIN usage_window w ON w.id = r.window_id JOIN meter m ON m.id = w.meter_id"
        " JOIN (SELECT id, rate_card_id, start_at, coalesce(uncut_end_at, end_at) AS end_at"
        "         FROM billing_period) p ON p.id = r.billing_period_id"
        " JOIN rate_card c ON c.id = p.rate_card_id"
        " WHERE l.kind = 'drawn' AND NOT ("
        "  (g.effective_at < least(r.service_at + interval '1 hour', p.end_at)"
        "   AND (g.expires_at IS NULL OR greatest(r.service_at, p.start_at) < g.expires_at)"
        "   OR o.id IS NOT NULL"
        "   AND o.effective_at < least(r.service_at + interval '1 hour', p.end_at)"
        "   AND (o.expires_at IS NULL OR greatest(r.service_at, p.start_at) < o.expires_at)"
        "   OR l.reason_code = 'credit_note_voided')"
        "  AND (g.workspace_id IS NULL OR g.workspace_id IS NOT DISTINCT FROM w.workspace_id)"
        "  AND (g.meter_codes = '[]'::jsonb OR g.meter_codes ? m.code)"
        "  AND r.customer_id = g.customer_id AND c.pricing_unit_id = g.pricing_unit_id)",
    )


@check("Rated usage and draws name approved versions")
def versions_are_approved() -> Iterator[Finding]:
    """Find facts whose rate card version or credit policy nobody approved."""
    for table, facts, column in (
        ("rate_card_version", "rated_usage", "rate_card_version_id"),
        ("credit_policy", "ledger_transaction", "credit_policy_id"),
    ):
        yield from findings(
            table,
            "governs without approval",
            f"SELECT v.id FROM {table} v JOIN policy_change c ON c.id = v.policy_change_id"  # noqa: S608
            f" WHERE c.status <> 'approved'"
            f" AND EXISTS (SELECT 1 FROM {facts} f WHERE f.{column} = v.id)",
        )


@check("Each ledger transaction carries its share of the grant's price")
def costs_follow_prices() -> Iterator[Finding]:
    """Compute each cost basis again from the grant's price and amount."""
    for entry in LedgerTransaction.objects.select_related("grant").order_by("pk").iterator():
        grant = entry.grant
        cost = cost_of(entry.credits, grant.priced_amount, grant.price_minor, grant.currency)
        if entry.cost_unrounded != cost:
            yield Finding(
                f"ledger_transaction:{entry.pk}", f"costs {entry.cost_unrounded}, should {cost}"
            )


def findings(
    subject: str, message: str, sql: str, params: Sequence[list[str]] = ()
) -> Iterator[Finding]:
    """Yield one finding for each row; its first column names the subject."""
    for pk, *facts in _rows(sql, params):
        yield Finding(f"{subject}:{pk}", message.format(*facts))


def _rows(sql: str, params: Sequence[list[str]] = ()) -> list[tuple[Any, ...]]:
    """Read rows for a check.

    Checks read whole tables. Without nested loops that stays linear, whatever the planner's
    statistics say of rows that came a second ago.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(sql, params or None)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.execute("SET LOCAL enable_nestloop TO DEFAULT")
    return rows
