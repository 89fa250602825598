"""Where the ledger and what it was made from disagree; an empty answer is the proof.

Sub-ledgers are compared promise by promise and customer by customer, so that two errors which
cancel out are found too. Customers whose facts wait in the outbox are left out where the books may
lawfully be behind.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet, Sum

from billing_project.kernel.canonical import canonical_json, sha256_hex
from credits.models import RatedUsage
from invoicing.models import CreditNoteLine, InvoiceLine, LineKind
from invoicing.selectors.plans import overage_prices
from revrec.accrual import Price
from revrec.disclosures import RollForward
from revrec.models import (
    AccountingPeriod,
    ObligationKind,
    PerformanceObligation,
    PeriodStatus,
    Posting,
)
from revrec.posting import Account
from revrec.selectors import facts
from revrec.selectors.estimates import close_targets
from revrec.selectors.obligations import basis_of, used_credits
from revrec.selectors.reports import deferred_rollforward, signed_balance
from revrec.sources import SourceType

_NONE = Decimal(0)


@dataclass(frozen=True)
class Mismatch:
    """One place where two figures that must be equal are not."""

    subject: str
    expected: str
    found: str


def unbalanced_currencies() -> Iterator[Mismatch]:
    """Compare all debits with all credits."""
    rows = Posting.objects.values("currency").annotate(total=Sum("amount_minor")).order_by()
    for row in rows.exclude(total=0):
        yield Mismatch(f"currency:{row['currency']}", "0", str(row["total"]))


def unbalanced_entries() -> Iterator[Mismatch]:
    """Recount and sum the postings of each entry."""
    yield from mismatches(
        "SELECT 'journal_entry:' || e.id, e.posting_count || ' postings that sum to 0',"
        "       coalesce(sum(p.count), 0) || ' postings, off by ' || coalesce(sum(abs(p.total)), 0)"
        "  FROM journal_entry e LEFT JOIN ("
        "       SELECT entry_id, currency, count(*) AS count,"
        "              sum(amount_minor) AS total FROM posting GROUP BY entry_id, currency) p"
        "    ON p.entry_id = e.id"
        " GROUP BY e.id HAVING coalesce(sum(p.count), 0) <> e.posting_count"
        "     OR coalesce(sum(abs(p.total)), 0) <> 0 ORDER BY e.id"
    )


def untied_liabilities() -> Iterator[Mismatch]:
    """Compare 2100 and 2120 with what each promise still owes: its price less what is earned.

    A fee in arrears is on 1200: what was earned less what was billed.
    """
    yield from mismatches(
        "SELECT 'performance_obligation:' || o.id, (o.price_minor - o.recognised_minor)::text,"
        "       (-coalesce(sum(p.amount_minor), 0))::text"
        "  FROM performance_obligation o LEFT JOIN posting p ON p.obligation_id = o.id"
        "   AND p.account_id = CASE WHEN o.kind IN ('credits', 'commitment') THEN '2100'"
        "       WHEN o.kind = 'arrears' THEN '1200' ELSE '2120' END"
        " WHERE o.kind IN ('credits', 'commitment', 'fee', 'arrears')"
        " GROUP BY o.id"
        " HAVING o.price_minor - o.recognised_minor <> -coalesce(sum(p.amount_minor), 0)"
        " ORDER BY o.id"
    )
    yield from mismatches(
        "SELECT 'posting:' || id, 'a promise', 'none on ' || account_id FROM posting"
        " WHERE account_id IN ('2100', '2120', '1200', '1210') AND obligation_id IS NULL"
        " AND amount_minor <> 0 ORDER BY id"
    )


def untied_revenue() -> Iterator[Mismatch]:
    """Compare revenue, less credit notes, with what each promise says is recognised."""
    yield from mismatches(
        "SELECT 'performance_obligation:' || o.id, o.recognised_minor::text,"
        "       (-coalesce(sum(p.amount_minor), 0))::text"
        "  FROM performance_obligation o LEFT JOIN posting p ON p.obligation_id = o.id"
        "   AND p.account_id LIKE '4%'"
        " GROUP BY o.id HAVING o.recognised_minor <> -coalesce(sum(p.amount_minor), 0)"
        " ORDER BY o.id"
    )


# What accepted outcomes earned by the decisions in the books, and what lines in them billed.
_OUTCOMES = """
SELECT coalesce(o.source_key, e.key),
       coalesce(e.earned, 0) || ' earned, ' || coalesce(b.billed, 0) || ' billed',
       coalesce(p.earned, 0) || ' earned, ' || coalesce(p.billed, 0) || ' billed'
  FROM (SELECT id, source_key FROM performance_obligation WHERE kind = 'outcome') o
  FULL JOIN (
       SELECT 'billing_period:' || r.billing_period_id || ':outcome:' || i.code AS key,
              sum(i.amount_minor * ((d.state = 'accepted')::int
                                    - (d.state_before = 'accepted')::int)) AS earned
         FROM outcome_decision d JOIN outcome r ON r.id = d.outcome_id
         JOIN plan_item i ON i.id = r.item_id
         JOIN entry_source s ON s.source_type = 'outcome_decision' AND s.source_id = d.id
        GROUP BY 1) e ON e.key = o.source_key
  LEFT JOIN (
       SELECT 'billing_period:' || l.billing_period_id || ':outcome:'
              || split_part(l.source_key, ':outcome:', 2) AS key, sum(l.amount_minor) AS billed
         FROM invoice_line l
         JOIN entry_source s ON s.source_type = 'invoice_line' AND s.source_id = l.id
        WHERE l.kind = 'outcome'
          AND NOT EXISTS (SELECT FROM invoice_void v JOIN entry_source e
                              ON e.source_type = 'invoice_void' AND e.source_id = v.id
                           WHERE v.invoice_id = l.invoice_id)
        GROUP BY 1) b ON b.key = o.source_key
  LEFT JOIN (
       SELECT obligation_id, -coalesce(sum(amount_minor) FILTER (WHERE account_id = '4050'), 0)
                             AS earned,
              -coalesce(sum(amount_minor) FILTER (WHERE account_id = '1200'), 0)
              - coalesce(sum(amount_minor) FILTER (WHERE account_id = '4050'), 0) AS billed
         FROM posting GROUP BY obligation_id) p ON p.obligation_id = o.id
 WHERE coalesce(e.earned, 0) <> coalesce(p.earned, 0)
    OR coalesce(b.billed, 0) <> coalesce(p.billed, 0)
 ORDER BY 1
"""


def untied_outcomes() -> Iterator[Mismatch]:
    """Compare 4050 and 1200 with decisions and lines, item by item of each billing period."""
    yield from mismatches(_OUTCOMES)


def untied_unbilled() -> Iterator[Mismatch]:
    """Compare 1200 with overage that was earned, less what invoice lines in the books still claim.

    It is negative where they claim more than was used.
    """
    ledger = _sums_by_obligation(Account.UNBILLED)
    for promise, charge in _overage_charges():
        found = ledger.get(promise.pk, 0)
        expected = charge.earned_minor - charge.claimed_minor
        if expected != found:
            yield Mismatch(f"performance_obligation:{promise.pk}", str(expected), str(found))


def untied_overage() -> Iterator[Mismatch]:
    """Compare a period's overage revenue with its usage at its price, less what was conceded."""
    revenue = _sums_by_obligation(Account.OVERAGE_REVENUE)
    contra = _sums_by_obligation(Account.CREDIT_NOTES)
    for promise, charge in _overage_charges():
        found = -revenue.get(promise.pk, 0) - contra.get(promise.pk, 0)
        if charge.earned_minor != found:
            yield Mismatch(
                f"performance_obligation:{promise.pk}", str(charge.earned_minor), str(found)
            )


def untied_receivables() -> Iterator[Mismatch]:
    """Compare 1100 with what issued invoices still claim, customer by customer."""
    yield from customer_mismatches(
        Account.RECEIVABLE,
        "SELECT customer_id, currency, sum(open_minor) AS total FROM invoice"
        " WHERE status <> 'draft' GROUP BY customer_id, currency",
        sign=1,
    )


def untied_customer_balances() -> Iterator[Mismatch]:
    """Compare 2200 with what notes owe back, less what refunds and invoices took of it."""
    yield from customer_mismatches(
        Account.CUSTOMER_BALANCE,
        "SELECT customer_id, currency, sum(minor) AS total FROM ("
        " SELECT i.customer_id, n.currency, n.balance_minor + n.refund_minor AS minor"
        "  FROM credit_note n JOIN invoice i ON i.id = n.invoice_id"
        "  WHERE NOT EXISTS (SELECT FROM credit_note_void v WHERE v.credit_note_id = n.id)"
        " UNION ALL SELECT i.customer_id, a.currency, -a.amount_minor"
        "  FROM balance_application a JOIN invoice i ON i.id = a.invoice_id"
        " UNION ALL SELECT customer_id, currency, amount_minor FROM overpayment"
        " UNION ALL SELECT r.customer_id, r.currency, -r.amount_minor FROM refund r"
        "  WHERE NOT EXISTS (SELECT FROM refund_failure f WHERE f.refund_id = r.id)"
        ") moved GROUP BY customer_id, currency",
        sign=-1,
    )


def untied_disputes() -> Iterator[Mismatch]:
    """Compare 1230 with the disputes that are open, customer by customer."""
    yield from customer_mismatches(
        Account.DISPUTED,
        "SELECT customer_id, currency, sum(amount_minor) AS total FROM dispute d"
        " WHERE NOT EXISTS (SELECT FROM dispute_outcome o WHERE o.dispute_id = d.id)"
        " GROUP BY customer_id, currency",
        sign=1,
    )


def untied_tax() -> Iterator[Mismatch]:
    """Compare 2300 with the tax on issued lines, less what notes, voids and lost disputes took."""
    yield from customer_mismatches(
        Account.TAX_PAYABLE,
        "SELECT customer_id, l.currency, sum(tax) AS total FROM ("
        " SELECT i.customer_id, i.currency, l.tax_minor - l.tax_credited_minor - least("
        "   l.tax_minor - l.tax_credited_minor, (SELECT coalesce(sum(p.amount_minor), 0)"
        "    FROM posting p JOIN journal_entry e ON e.id = p.entry_id AND e.kind = 'dispute_lost'"
        "    WHERE p.account_id = '2300' AND p.invoice_line_id = l.id)) AS tax"
        "  FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id"
        "   AND i.status NOT IN ('draft', 'void')) l GROUP BY customer_id, l.currency",
        sign=-1,
    )


def untied_grants() -> Iterator[Mismatch]:
    """Compare 4010 with the cost basis of the credits that were used, grant by grant."""
    ledger = _sums_by_obligation(Account.USAGE_REVENUE)
    promises = PerformanceObligation.objects.filter(grant__isnull=False).select_related("grant")
    for promise in promises.order_by("id"):
        expected = basis_of(promise).earned(used_credits(promise))
        found = -ledger.get(promise.pk, 0)
        if expected != found:
            yield Mismatch(f"grant:{promise.grant_id}", str(expected), str(found))


def unfinished_schedules() -> Iterator[Mismatch]:
    """Check that each fee's newest schedule earns what is left of it, to the last unit."""
    yield from mismatches(
        "SELECT 'performance_obligation:' || o.id, (o.price_minor - o.recognised_minor)::text,"
        "       coalesce(sum(l.amount_minor), 0)::text"
        "  FROM performance_obligation o"
        "  JOIN (SELECT obligation_id, max(revision) AS revision FROM revenue_schedule"
        "         GROUP BY obligation_id) newest ON newest.obligation_id = o.id"
        "  JOIN revenue_schedule s ON s.obligation_id = o.id AND s.revision = newest.revision"
        "  LEFT JOIN (SELECT * FROM revenue_schedule_line l WHERE NOT EXISTS ("
        "       SELECT 1 FROM entry_source e WHERE e.source_type = 'revenue_schedule_line'"
        "          AND e.source_id = l.id)) l ON l.schedule_id = s.id"
        " GROUP BY o.id"
        " HAVING o.price_minor - o.recognised_minor <> coalesce(sum(l.amount_minor), 0)"
        " ORDER BY o.id"
    )


def unexplained_rollforwards(only: AccountingPeriod | None = None) -> Iterator[Mismatch]:
    """Check that movements explain each month's closing liabilities without a remainder."""
    for period in AccountingPeriod.objects.all() if only is None else [only]:
        for row in deferred_rollforward(period):
            explained = RollForward(
                row.opening_minor, row.billings_minor, row.fees_minor + row.usage_minor,
                breakage_minor=row.breakage_minor, credit_notes_minor=row.credit_notes_minor,
            ).closing_minor  # fmt: skip
            if explained != row.closing_minor:
                yield Mismatch(
                    f"accounting_period:{period}", str(row.closing_minor), str(explained)
                )


def untied_estimates() -> Iterator[Mismatch]:
    """Compare 1190, 2190, 2210 and 2400 with what approved estimates said at the last close."""
    closed = AccountingPeriod.objects.filter(status=PeriodStatus.CLOSED).last()
    for target in close_targets(closed) if closed else []:
        if target.change_minor:
            yield Mismatch(
                f"{target.key} {target.account.value}",
                str(target.target_minor),
                str(target.held_minor),
            )


def changed_closes() -> Iterator[Mismatch]:
    """Compare each closed month's trial balance, made anew, with the one that was stored."""
    for period in AccountingPeriod.objects.filter(status=PeriodStatus.CLOSED):
        subject = f"accounting_period:{period}"
        now = sha256_hex(canonical_json(signed_balance(period)))
        stored = sha256_hex(canonical_json(period.trial_balance))
        for found in (now, stored):
            if found != period.trial_balance_sha256:
                yield Mismatch(subject, period.trial_balance_sha256, found)


def unaccounted_facts(at: datetime | None = None) -> Iterator[Mismatch]:
    """List facts that are neither in the books nor announced in the outbox.

    Args:
        at: Now; customers who wait for too long by then are listed, too.
    """
    waiting = list(facts.waiting_customers(at))
    for name, rows, customer in (
        (SourceType.INVOICE_LINE, facts.unaccounted_lines(), "invoice__customer_id"),
        (SourceType.PAYMENT, facts.unaccounted_payments(), "invoice__customer_id"),
        (SourceType.SHORT_PAYMENT, facts.unaccounted_short_payments(), "invoice__customer_id"),
        (SourceType.CREDIT_NOTE, facts.unaccounted_notes(), "invoice__customer_id"),
        (
            SourceType.CREDIT_NOTE_VOID,
            facts.unaccounted_note_voids(),
            "credit_note__invoice__customer_id",
        ),
        (SourceType.INVOICE_VOID, facts.unaccounted_voids(), "invoice__customer_id"),
        (SourceType.WRITE_OFF, facts.unaccounted_write_offs(), "invoice__customer_id"),
        (SourceType.BALANCE_APPLICATION, facts.unaccounted_applications(), "invoice__customer_id"),
        (SourceType.REFUND, facts.unaccounted_refunds(), "customer_id"),
        (SourceType.REFUND_FAILURE, facts.unaccounted_failures(), "refund__customer_id"),
        (SourceType.OVERPAYMENT, facts.unaccounted_overpayments(), "customer_id"),
        (SourceType.PROCESSOR_FEE, facts.unaccounted_fees(), "customer_id"),
        (SourceType.DISPUTE, facts.unaccounted_disputes(), "customer_id"),
        (SourceType.DISPUTE_OUTCOME, facts.unaccounted_verdicts(), "dispute__customer_id"),
        (SourceType.LEDGER_TRANSACTION, facts.unaccounted_grants(), "customer_id"),
        (SourceType.LEDGER_TRANSACTION, facts.unaccounted_movements(), "customer_id"),
        (SourceType.RATED_USAGE, facts.unaccounted_overage(), "customer_id"),
        (SourceType.OUTCOME_DECISION, facts.unaccounted_decisions(), "outcome__customer_id"),
    ):
        forgotten: QuerySet[Posting] = rows.exclude(**{f"{customer}__in": waiting})  # type: ignore[assignment]
        for pk in forgotten.values_list("pk", flat=True).iterator():
            yield Mismatch(f"{name}:{pk}", "in the books", "not accounted for")


@dataclass(frozen=True)
class _Charge:
    """What a period's overage earned, and what its invoice lines still claim after notes."""

    earned_minor: int
    claimed_minor: int


def _overage_charges() -> Iterator[tuple[PerformanceObligation, _Charge]]:
    """Work out each period from its facts alone, by nothing that was posted."""
    rows = RatedUsage.objects.filter(facts.accounted(SourceType.RATED_USAGE))
    used = dict(rows.order_by().values_list("billing_period_id").annotate(Sum("overage")))
    claims = InvoiceLine.objects.filter(
        facts.accounted(SourceType.INVOICE_LINE),
        ~facts.accounted(SourceType.INVOICE_VOID, "invoice__void"),
        kind=LineKind.OVERAGE,
    )
    claimed = dict(claims.order_by().values_list("billing_period_id").annotate(Sum("amount_minor")))
    notes = CreditNoteLine.objects.filter(
        facts.accounted(SourceType.CREDIT_NOTE, "credit_note_id"),
        ~facts.accounted(SourceType.CREDIT_NOTE_VOID, "credit_note__void"),
        invoice_line__kind=LineKind.OVERAGE,
    ).values_list("invoice_line__billing_period_id")
    taken = dict(notes.order_by().annotate(Sum("amount_minor")))
    evened = dict(notes.order_by().annotate(Sum("evened_minor")))
    promises = PerformanceObligation.objects.filter(kind=ObligationKind.OVERAGE)
    prices = overage_prices(promises.values_list("billing_period_id", flat=True))
    for promise in promises.order_by("id"):
        key = promise.billing_period_id
        assert key is not None, "an overage promise is a billing period's"
        worth = Price(*prices[key]).of(used.get(key, _NONE))
        earned = max(0, worth - (taken.get(key, 0) - evened.get(key, 0)))
        yield promise, _Charge(earned, claimed.get(key, 0) - taken.get(key, 0))


def mismatches(query: str) -> Iterator[Mismatch]:
    """Read mismatches: a query's subject, what is expected, what is found."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        yield from (Mismatch(*row) for row in cursor.fetchall())


def customer_mismatches(account: Account, claims: str, sign: int) -> Iterator[Mismatch]:
    """Compare an account with a sub-ledger, where nothing of the customer waits."""
    yield from mismatches(
        "SELECT 'customer:' || coalesce(l.customer_id, c.customer_id)"  # noqa: S608 - our own text
        "       || ' ' || coalesce(l.currency, c.currency),"
        "       coalesce(c.total, 0)::text, coalesce(l.total, 0)::text"
        f" FROM (SELECT customer_id, currency, {sign} * sum(amount_minor) AS total FROM posting"
        f"        WHERE account_id = '{account.value}' GROUP BY customer_id, currency) l"
        f" FULL JOIN ({claims}) c ON c.customer_id = l.customer_id AND c.currency = l.currency"
        " WHERE coalesce(l.total, 0) <> coalesce(c.total, 0)"
        "   AND coalesce(l.customer_id, c.customer_id) NOT IN ("
        "       SELECT object_id FROM outbox_message"
        "        WHERE topic IN ('money_changed', 'credits_changed'))"
    )


def _sums_by_obligation(account: Account) -> dict[int | None, int]:
    rows = Posting.objects.filter(account=account.value).values_list("obligation_id")
    return dict(rows.annotate(total=Sum("amount_minor")).order_by())
