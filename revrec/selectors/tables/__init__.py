"""Every report by its name: how it is built for a month, and how it is told and drawn.

Each is read from postings by effective day, so that all of them are one set of books; see
`revrec.reporting` for what a table is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Coalesce

from revrec.models import AccountingPeriod, Posting
from revrec.reporting import Drill, Table
from revrec.selectors.contracts import with_contract
from revrec.selectors.tables import customers, ledger, margins, promises, remaining, revenue

__all__ = ["REPORTS", "Report", "drill_total", "postings_behind"]


@dataclass(frozen=True)
class Report:
    """One report.

    Attributes:
        explains: What it says, for whom, and by which paragraph.
        chart: Figures that are drawn; none where a table says more.
        chart_label: The column of labels that names the bars.
    """

    name: str
    title: str
    explains: str
    build: Callable[[AccountingPeriod], Table]
    chart: tuple[str, ...] = ()
    chart_label: str = ""


_ALL = (
    Report(
        "trial_balance", "Trial balance",
        "Every account: opening, debits, credits and closing.",
        ledger.trial_balance_table,
    ),
    Report(
        "functional_trial_balance", "Trial balance in the books' currency",
        "Every account in the currency in which its entity keeps its books: foreign sales at the"
        " rate of their day, money at the rate of the last close (IAS 21.21-28).",
        ledger.functional_balance_table,
    ),
    Report(
        "deferred_rollforward", "Deferred revenue roll-forward",
        "How contract liabilities came from opening to closing (IFRS 15.118, 606-10-50-10)."
        " Closing is read from the ledger; what no movement explains stands under other.",
        ledger.rollforward_table,
    ),
    Report(
        "contract_balances", "Contract balances",
        "Receivables, contract assets and contract liabilities (IFRS 15.116(a), 606-10-50-8(a)).",
        ledger.contract_balances,
    ),
    Report(
        "waterfall", "Revenue waterfall",
        "What each month sold in advance: what of it is earned, and when the rest will be."
        " Credits earn when they are used.",
        promises.waterfall, ("price", "earned"), "sold",
    ),
    Report(
        "opening_liability_revenue", "Revenue from the opening liability",
        "Revenue of the month that was in contract liabilities when it began"
        " (IFRS 15.116(b), 606-10-50-8(b)).",
        promises.opening_liability_revenue,
    ),
    Report(
        "prior_period_revenue", "Revenue for prior periods",
        "Revenue of the month for service that ended before it: late usage, notes on what was"
        " finished (IFRS 15.116(c), 606-10-50-12A).",
        revenue.prior_period_revenue,
    ),
    Report(
        "rpo", "Remaining performance obligations",
        "What is promised and still to be earned, by when it will be"
        " (IFRS 15.120, 606-10-50-13).",
        remaining.remaining_obligations, remaining.RPO_BANDS, "stream",
    ),
    Report(
        "disaggregation", "Disaggregated revenue",
        "Revenue of the month by stream, timing and region (IFRS 15.114, 606-10-50-5).",
        revenue.disaggregation, ("amount",), "stream",
    ),
    Report(
        "revenue_by_product", "Revenue by product",
        "Revenue of the month by product (the plan of the days served, or credits sold by"
        " themselves), stream and region (IFRS 15.114, 606-10-50-5).",
        revenue.revenue_by_product, ("amount",), "product",
    ),
    Report(
        "deferred_by_expiry", "Deferred revenue by expiry",
        "Contract liabilities by the month in which their service or credits end"
        " (IFRS 15.117, IAS 1.69).",
        promises.deferred_by_expiry, ("amount",), "ends",
    ),
    Report(
        "unbilled", "Unbilled receivable",
        "Usage that is earned and not invoiced yet; negative where invoices claim more than was"
        " used.",
        customers.unbilled, ("amount",), "customer",
    ),
    Report(
        "receivable_ageing", "Receivable ageing",
        "Open invoices by how long they are overdue at the month's end.",
        customers.receivable_ageing, customers.BUCKETS, "customer",
    ),
    Report(
        "breakage_by_cohort", "Breakage by cohort",
        "Credits by the month of their sale: used, broken, still open (IFRS 15.B44-B47).",
        promises.breakage_by_cohort, ("used", "broken", "open"), "sold",
    ),
    Report(
        "recognised_billed_cash", "Recognised, billed, cash",
        "What the last twelve months earned, claimed and collected.",
        revenue.recognised_billed_cash, ("recognised", "billed", "cash"), "month",
    ),
    Report(
        "revenue_by_customer", "Revenue by customer",
        "Revenue of the month by customer and stream, the largest first.",
        customers.revenue_by_customer, ("total",), "customer",
    ),
    Report(
        "revenue_by_contract", "Revenue by contract",
        "Revenue of the month by customer, contract (the subscription that sold it) and stream"
        " (IFRS 15.114). Packs are sold beside a subscription, and belong to none.",
        customers.revenue_by_contract,
    ),
    Report(
        "margin", "Margin by customer",
        "Recognised revenue less what suppliers charge for the month's usage; the share of cached"
        " input, and of output in all tokens.",
        margins.by_customer, margins.FIGURES, "customer",
    ),
    Report(
        "margin_below_floor", "Heavy users below the margin floor",
        "Customers of whose recognised revenue less than 20 % is left, the worst first.",
        margins.below_floor, margins.FIGURES, "customer",
    ),
    Report(
        "margin_by_plan", "Margin by plan",
        "By the plan that each customer had when the month ended.",
        margins.by_plan, margins.FIGURES, "plan",
    ),
    Report(
        "margin_by_model", "Margin by model",
        "Each customer's revenue, shared by the credits that its models were charged.",
        margins.by_model, margins.FIGURES, "model",
    ),
    Report(
        "margin_by_workspace", "Margin by workspace",
        "Each customer's revenue, shared by the credits that its workspaces were charged.",
        margins.by_workspace, margins.FIGURES, "workspace",
    ),
    Report(
        "margin_by_day", "Margin by day",
        "By day of the books.",
        margins.by_day, margins.FIGURES, "day",
    ),
    Report(
        "cost_by_funding", "Supplier's cost by what paid for it",
        "Usage that paid, included, promotional and goodwill credits paid for, overage by how far"
        " it is billed or refunded, credits that were given back, and usage that is not rated yet.",
        margins.by_funding, ("supplier",), "paid_by",
    ),
)  # fmt: skip
REPORTS = {report.name: report for report in _ALL}


def postings_behind(drill: Drill) -> QuerySet[Posting]:
    """List the postings that a figure is the sum of, the newest first."""
    return (
        with_contract(Posting.objects.filter(**drill.where))
        .select_related("entry", "account", "customer", "obligation")
        .order_by("-entry_id", "position")
    )


def drill_total(drill: Drill) -> int:
    """Sum the postings behind a figure: what the figure must be."""
    of = Coalesce("functional_minor", "amount_minor") if drill.in_books else F("amount_minor")
    found = Posting.objects.filter(**drill.where).aggregate(total=Sum(of))
    return drill.sign * (found["total"] or 0)
