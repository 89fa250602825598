"""Reports that show one line a customer: who earned us what, and who owes what."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date

from django.db import connection
from django.db.models import Min, Q, Sum

from invoicing.models import Subscription
from metering.models import Customer
from revrec.models import AccountingPeriod, Posting
from revrec.posting import Account
from revrec.reporting import Drill, Figure, Row, Table
from revrec.selectors.contracts import contract_number, with_contract
from revrec.selectors.tables.ledger import REVENUE_CODES, before, within
from revrec.selectors.tables.revenue import STREAMS, revenue_postings

BUCKETS = ("not_due", "1_to_30", "31_to_60", "61_to_90", "over_90")
_EDGES = (0, 30, 60, 90)  # Days overdue at most, bucket by bucket; the last is open.
_NO_INVOICE = "no_invoice"
_NOBODY = "(no customer)"

# Each invoice's open claim by the ledger alone: entries on 1100 by the invoice of their sources.
_OPEN = """
WITH claim AS (
    SELECT p.id, p.entry_id, p.customer_id, p.currency, p.amount_minor
      FROM posting p JOIN journal_entry e ON e.id = p.entry_id
     WHERE p.account_id = '1100' AND e.effective_on < %(end)s
), about AS (
    SELECT c.id, min(coalesce(l.invoice_id, y.invoice_id, n.invoice_id, m.invoice_id,
                              a.invoice_id, h.invoice_id, w.invoice_id, x.invoice_id)) AS invoice_id
      FROM claim c JOIN entry_source s ON s.entry_id = c.entry_id
      LEFT JOIN invoice_line l ON s.source_type = 'invoice_line' AND l.id = s.source_id
      LEFT JOIN payment y ON s.source_type = 'payment' AND y.id = s.source_id
      LEFT JOIN credit_note n ON s.source_type = 'credit_note' AND n.id = s.source_id
      LEFT JOIN credit_note_void v ON s.source_type = 'credit_note_void' AND v.id = s.source_id
      LEFT JOIN credit_note m ON m.id = v.credit_note_id
      LEFT JOIN balance_application a
             ON s.source_type = 'balance_application' AND a.id = s.source_id
      LEFT JOIN short_payment h ON s.source_type = 'short_payment' AND h.id = s.source_id
      LEFT JOIN write_off w ON s.source_type = 'write_off' AND w.id = s.source_id
      LEFT JOIN invoice_void x ON s.source_type = 'invoice_void' AND x.id = s.source_id
     GROUP BY c.id
)
SELECT c.customer_id, c.currency, i.id, i.due_on, sum(c.amount_minor), array_agg(c.id)
  FROM claim c LEFT JOIN about ON about.id = c.id LEFT JOIN invoice i ON i.id = about.invoice_id
 GROUP BY c.customer_id, c.currency, i.id, i.due_on HAVING sum(c.amount_minor) <> 0
"""


def revenue_by_customer(period: AccountingPeriod) -> Table:
    """Sum the month's revenue by customer and stream."""
    found = (
        revenue_postings()
        .filter(**within(period))
        .values_list("customer_id", "currency", "account_id")
        .annotate(total=Sum("amount_minor"))
        .order_by()
    )
    sums: dict[tuple[int | None, str], dict[str, int]] = defaultdict(dict)
    for customer_id, currency, account, total in found:
        sums[customer_id, currency][account] = -total
    names = _names(customer_id for customer_id, _ in sums)
    ordered = sorted(sums, key=lambda key: (key[1], -sum(sums[key].values()), names[key[0]]))
    rows = []
    for key in ordered:
        where = {"customer_id": key[0], "currency": key[1], **within(period)}
        figures = {
            _column(account): Figure(
                sums[key].get(account, 0), Drill({**where, "account_id": account}, -1)
            )
            for account in STREAMS
        }
        figures["total"] = Figure(
            sum(sums[key].values()), Drill({**where, "account_id__in": REVENUE_CODES}, -1)
        )
        rows.append(Row({"customer": names[key[0]]}, key[1], figures, key[0]))
    return Table(("customer",), (*map(_column, STREAMS), "total"), rows)


def revenue_by_contract(period: AccountingPeriod) -> Table:
    """Sum the month's revenue by contract and stream: by subscription, named with its plan."""
    on = {"account_id__in": REVENUE_CODES, **within(period)}
    found = (
        Posting.objects.filter(**on)
        .annotate(contract=contract_number())
        .values_list("customer_id", "contract", "account_id", "currency")
        .annotate(total=Sum("amount_minor"))
        .order_by("currency", "customer_id", "contract", "account_id")
    )
    rows = list(found)
    names = _names(row[0] for row in rows)
    plans = dict(
        Subscription.objects.filter(
            pk__in={row[1] for row in rows if row[1] is not None}
        ).values_list("pk", "plan_version__plan__code")
    )
    made = []
    for customer_id, contract, account, currency, total in rows:
        mine = Posting.objects.filter(
            customer=customer_id, account=account, currency=currency, **within(period)
        )
        is_it = Q(contract=contract) if contract is not None else Q(contract__isnull=True)
        of = with_contract(mine).filter(is_it)
        said = "none" if contract is None else f"subscription {contract}, {plans[contract]}"
        labels = {
            "customer": names[customer_id], "contract": said,
            "stream": STREAMS.get(account, account),
        }  # fmt: skip
        figure = Figure(-total, Drill({"pk__in": of.values("pk")}, -1))
        made.append(Row(labels, currency, {"amount": figure}, customer_id))
    return Table(("customer", "contract", "stream"), ("amount",), made)


def unbilled(period: AccountingPeriod) -> Table:
    """List who used what is not invoiced yet at the month's end."""
    on = {"account_id": Account.UNBILLED.value, **before(period.end_on)}
    found = (
        Posting.objects.filter(**on)
        .values_list("customer_id", "currency")
        .annotate(total=Sum("amount_minor"), oldest=Min("service_start_on"))
        .exclude(total=0)
        .order_by("currency", "-total")
    )
    names = _names(row[0] for row in found)
    rows = [
        Row(
            {"customer": names[customer_id]},
            currency,
            {
                "amount": Figure(
                    total, Drill({**on, "customer_id": customer_id, "currency": currency})
                )
            },
            customer_id,
        )
        for customer_id, currency, total, _ in found
    ]
    return Table(("customer",), ("amount",), rows)


def receivable_ageing(period: AccountingPeriod) -> Table:
    """List open invoices by how many days after their due date the month ends.

    Read from 1100 alone, so that the sum is the ledger's; a claim that no invoice explains stands
    in a column of its own.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"end": period.end_on})
        found = cursor.fetchall()
    sums: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    postings: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for customer_id, currency, invoice_id, due_on, total, ids in found:
        bucket = _bucket(due_on, period.end_on) if invoice_id else _NO_INVOICE
        sums[customer_id, currency][bucket] += int(total)
        postings[customer_id, currency, bucket] += ids
    names = _names(customer_id for customer_id, _ in sums)
    columns = (*BUCKETS, _NO_INVOICE)
    rows = []
    for key in sorted(sums, key=lambda key: (key[1], names[key[0]])):
        figures = {
            bucket: Figure(sums[key][bucket], _of_postings(postings[(*key, bucket)]))
            for bucket in columns
        }
        whole = [pk for bucket in columns for pk in postings[(*key, bucket)]]
        figures["total"] = Figure(sum(sums[key].values()), _of_postings(whole))
        rows.append(Row({"customer": names[key[0]]}, key[1], figures, key[0]))
    return Table(("customer",), (*columns, "total"), rows)


def _bucket(due_on: date | None, end_on: date) -> str:
    """Return where an invoice stands on the last day of a month."""
    overdue = 0 if due_on is None else (end_on - due_on).days - 1
    for name, most in zip(BUCKETS, _EDGES, strict=False):
        if overdue <= most:
            return name
    return BUCKETS[-1]


def _of_postings(ids: list[int]) -> Drill:
    return Drill({"pk__in": ids})


def _column(account: str) -> str:
    return STREAMS[account].lower().replace(" ", "_")


def _names(customer_ids: Iterable[int | None]) -> Mapping[int | None, str]:
    """Name customers; what is nobody's own, as the breakage of a cohort, has a name, too."""
    customers = Customer.objects.filter(pk__in={pk for pk in customer_ids if pk is not None})
    return {None: _NOBODY, **dict(customers.values_list("pk", "external_id"))}
