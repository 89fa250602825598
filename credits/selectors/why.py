"""Why a burn took this grant and not another: read back from the ledger and the policy it names."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from django.db import connection

from credits.burn_order import preset_of, why
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.facts import use_of
from credits.selectors.states import state_of_grant

# What moved each grant of a customer and unit before the first of some entries, and between each of
# them and the next: one pass over the ledger, however many entries are asked about.
_MOVED = """
WITH asked AS (
    SELECT e.id, e.position, e.customer_id, g.pricing_unit_id,
           lag(e.position, 1, 0::bigint) OVER (
               PARTITION BY e.customer_id, g.pricing_unit_id ORDER BY e.position) AS after
    FROM ledger_transaction e JOIN credit_grant g ON g.id = e.grant_id WHERE e.id = ANY(%s)
)
SELECT a.customer_id, a.pricing_unit_id, a.position, a.id, l.grant_id, sum(l.credits)
FROM asked a
LEFT JOIN (ledger_transaction l JOIN credit_grant g ON g.id = l.grant_id)
  ON l.customer_id = a.customer_id AND l.position >= a.after AND l.position < a.position
 AND g.pricing_unit_id = a.pricing_unit_id
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3
"""
_Left = dict[int, Decimal]


def why_this_grant(entry: LedgerTransaction) -> str:
    """Explain a drawn entry: what the burn order compared, and which grant came after.

    Returns:
        "" for an entry that no burn order chose.
    """
    return why_these_grants([entry.pk]).get(entry.pk, "")


def why_these_grants(entry_ids: Collection[int]) -> dict[int, str]:
    """Explain drawn entries, by id; it costs one fold over each customer's ledger.

    Returns:
        Entries that no burn order chose are left out.
    """
    entries = LedgerTransaction.objects.filter(
        pk__in=entry_ids, kind=LedgerKind.DRAWN, credit_policy__isnull=False
    ).select_related("credit_policy", "rated_usage__window__meter", "rated_usage__billing_period")
    drawn = list(entries)
    left = _left_before([entry.pk for entry in drawn])
    wanted = {pk for some in left.values() for pk in some} | {entry.grant_id for entry in drawn}
    grants = CreditGrant.objects.select_related("origin").in_bulk(wanted)
    return {entry.pk: _why(entry, left[entry.pk], grants) for entry in drawn}


def _why(entry: LedgerTransaction, left: _Left, grants: dict[int, CreditGrant]) -> str:
    rated, policy = entry.rated_usage, entry.credit_policy
    assert rated is not None, "what was drawn was rated"
    assert policy is not None, "selected by its policy"
    window = rated.window
    use = use_of(rated.service_at, rated.billing_period, (window.workspace_id, window.meter.code))
    states = (state_of_grant(grants[pk], credits_) for pk, credits_ in left.items())
    others = [one for one in states if one.id != entry.grant_id and one.admits(use)]
    chosen = state_of_grant(grants[entry.grant_id], -entry.credits)
    name = preset_of(policy.burn_order) or "own"
    return f"{why(chosen, others, policy.burn_order)} ({policy}, {name} order)"


def _left_before(entry_ids: Iterable[int]) -> dict[int, _Left]:
    """Return what each grant of the same customer and unit had left before each entry."""
    found: dict[int, _Left] = {}
    with connection.cursor() as cursor:
        cursor.execute(_MOVED, [list(entry_ids)])
        for _, ledger in groupby(cursor.fetchall(), key=itemgetter(0, 1)):
            left: _Left = defaultdict(Decimal)
            for entry_id, moved in groupby(ledger, key=itemgetter(3)):
                for *_, grant_id, credits_ in moved:
                    if grant_id is not None:
                        left[grant_id] += credits_
                found[entry_id] = {pk: credits_ for pk, credits_ in left.items() if credits_ > 0}
    return found
