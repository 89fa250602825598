"""Where small and rare losses disagree with the facts behind them: 4910, 7900, 4920 and 6200.

4910 is worked out from the journal's own order: what a promise carried when a note came.
"""

from collections.abc import Iterator

from django.db.models import CharField, Exists, F, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Cast, Coalesce, Concat

from invoicing.models import DisputeOutcome, Verdict, WriteOff
from revrec.models import BadDebt, DisputeLoss, Posting
from revrec.posting import Account, EntryKind
from revrec.provider import FRAUD
from revrec.selectors.recognition import known_at
from revrec.selectors.tieouts import Mismatch, customer_mismatches, mismatches

# A note gives back what the purchase's credits still carried or had become as breakage, then 4910.
# Notes of before that rule have their whole amount on 4900, and no line on these accounts.
_BEYOND = """
WITH noted AS (
    SELECT e.id, p.obligation_id,
           coalesce(sum(p.amount_minor) FILTER (WHERE p.account_id = '4910'), 0) AS beyond,
           sum(p.amount_minor) AS taken
      FROM journal_entry e JOIN posting p ON p.entry_id = e.id
      JOIN performance_obligation o ON o.id = p.obligation_id
       AND o.kind IN ('credits', 'commitment')
     WHERE e.kind = 'credit_note_issued' AND p.account_id IN ('2100', '4030', '4040', '4910')
       AND EXISTS (SELECT FROM posting x WHERE x.entry_id = e.id
                      AND x.obligation_id = p.obligation_id
                      AND x.account_id IN ('4030', '4040', '4910'))
     GROUP BY e.id, p.obligation_id)
SELECT 'journal_entry:' || n.id, (n.taken - least(n.taken, greatest(c.carried, 0)))::text,
       n.beyond::text
  FROM noted n JOIN LATERAL (
       SELECT -coalesce(sum(p.amount_minor), 0) AS carried
         FROM posting p JOIN journal_entry e ON e.id = p.entry_id
        WHERE p.obligation_id = n.obligation_id AND p.account_id IN ('2100', '4030', '4040')
          AND e.id < n.id) c ON true
 WHERE n.beyond <> n.taken - least(n.taken, greatest(c.carried, 0))
UNION ALL
SELECT 'posting:' || p.id, 'a credit note on credits', e.kind
  FROM posting p JOIN journal_entry e ON e.id = p.entry_id
  LEFT JOIN performance_obligation o ON o.id = p.obligation_id
   AND o.kind IN ('credits', 'commitment')
 WHERE p.account_id = '4910' AND (e.kind <> 'credit_note_issued' OR o.id IS NULL)
 ORDER BY 1
"""


def untied_refunds() -> Iterator[Mismatch]:
    """Compare 4910 with what notes gave back beyond what their credits carried."""
    yield from mismatches(_BEYOND)


def untied_short_payments() -> Iterator[Mismatch]:
    """Compare 7900 with what payments fell short by, customer by customer."""
    yield from customer_mismatches(
        Account.ROUNDING,
        "SELECT i.customer_id, s.currency, sum(s.amount_minor) AS total"
        " FROM short_payment s JOIN invoice i ON i.id = s.invoice_id"
        " GROUP BY i.customer_id, s.currency",
        sign=1,
    )


def misplaced_losses() -> Iterator[Mismatch]:
    """Look for losses on another account than the policy of when they came to be says.

    What came back of a write-off must not stand on an account that the write-off did not take.
    """
    yield from _misplaced_disputes()
    yield from _misplaced_write_offs()
    back = Posting.objects.filter(
        entry__kind__in=[EntryKind.WRITTEN_OFF.value, EntryKind.RECOVERED.value],
        account__in=[Account.IMPAIRMENT.value, Account.CREDIT_NOTES.value],
    )
    sums = (
        back.order_by().values_list("invoice_line_id", "account_id").annotate(Sum("amount_minor"))
    )
    for line, account, minor in sums.filter(amount_minor__sum__lt=0):
        yield Mismatch(f"invoice_line:{line}", f"at least 0 on {account}", str(minor))


def _misplaced_disputes() -> Iterator[Mismatch]:
    key = Concat(Value("dispute:"), Cast("dispute_id", CharField()), Value(":lost"))
    lost = DisputeOutcome.objects.filter(verdict=Verdict.LOST).annotate(
        said=_said("decided_at", "dispute_loss", DisputeLoss.BY_REASON),
        reason=F("dispute__reason"),
        entry_key=key,
    )
    posted = lost.annotate(
        conceded=Exists(_posted(Account.DISPUTES_LOST)),
        impaired=Exists(_posted(Account.IMPAIRMENT)),
    )
    for row in posted.order_by("pk").values("dispute_id", "said", "reason", "conceded", "impaired"):
        by_reason = row["said"] == DisputeLoss.BY_REASON and row["reason"] == FRAUD
        is_impairment = row["said"] == DisputeLoss.IMPAIRMENT or by_reason
        if row["conceded" if is_impairment else "impaired"]:
            expected, found = Account.IMPAIRMENT.value, Account.DISPUTES_LOST.value
            expected, found = (expected, found) if is_impairment else (found, expected)
            yield Mismatch(f"dispute:{row['dispute_id']}", f"a loss on {expected}", found)


def _misplaced_write_offs() -> Iterator[Mismatch]:
    """Tax that is given up is an expense by either policy."""
    key = Concat(Value("write_off:"), Cast("pk", CharField()), Value(":written_off"))
    posted = WriteOff.objects.annotate(
        said=_said("written_off_at", "bad_debt", BadDebt.EXPENSE),
        tax=F("invoice__tax_minor"),
        entry_key=key,
    ).annotate(conceded=_sum(Account.CREDIT_NOTES), expensed=_sum(Account.IMPAIRMENT))
    for row in posted.order_by("pk").values("pk", "said", "tax", "conceded", "expensed"):
        if row["said"] == BadDebt.EXPENSE and row["conceded"]:
            yield Mismatch(f"write_off:{row['pk']}", "0 on 4900", str(row["conceded"]))
        if row["said"] == BadDebt.CONCESSION and row["expensed"] > row["tax"]:
            expected = f"at most its tax of {row['tax']} on 6200"
            yield Mismatch(f"write_off:{row['pk']}", expected, str(row["expensed"]))


def _said(instant: str, switch: str, default: str) -> Coalesce:
    governs = known_at(OuterRef(instant)).values(switch)[:1]
    return Coalesce(Subquery(governs), Value(default), output_field=CharField())


def _posted(account: Account) -> QuerySet[Posting]:
    """Match what the row's own entry has on an account."""
    return Posting.objects.filter(
        entry__source_key=OuterRef("entry_key"), account=account.value
    ).order_by()


def _sum(account: Account) -> Coalesce:
    total = _posted(account).values("account_id").annotate(sum=Sum("amount_minor")).values("sum")
    return Coalesce(Subquery(total), 0)
