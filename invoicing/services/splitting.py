"""Say how a customer's usage is invoiced, and cut a draft by workspace when it is issued.

Until then a period has one draft, which is judged, held and approved whole. Commits, thresholds
and discounts stay the account's: they are counted before the cut.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from credits.models import BillingPeriod
from invoicing.lines import Kind, Line
from invoicing.models import Invoice, InvoiceSplit, LineKind, SplitBy
from invoicing.selectors import overage_state, uninvoiced
from invoicing.selectors.replacing import replaced_by
from invoicing.selectors.splitting import overage_by_workspace, split_of
from invoicing.services.drafts import Draft, clear_lines, create_draft
from invoicing.services.locks import require_permission
from invoicing.services.overage import claims_of, write_claims
from invoicing.splitting import Share, divided_over
from metering.models import Customer
from metering.services.customers import lock_customer

_LONGEST_REASON = 500


@transaction.atomic
def split_invoices(
    *, customer: Customer, split_by: str, reason: str, by: User, at: datetime
) -> InvoiceSplit | None:
    """Say how a customer's usage is invoiced from now on; what is issued stays as it is.

    Returns:
        The row that counts; None where nothing was ever said and nothing changes.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: an unknown way, or no reason.
    """
    require_permission(by, "invoicing.record_invoicesplit", "say how usage is invoiced")
    if split_by not in SplitBy.values:
        raise Invalid(f"usage is split by {' or '.join(SplitBy.values)}", field="split_by")
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise Invalid(f"a reason has up to {_LONGEST_REASON} characters", field="reason")
    lock_customer(customer.pk)
    if split_of(customer) == split_by:
        return InvoiceSplit.objects.filter(customer=customer).order_by("-id").first()
    row = InvoiceSplit.objects.create(
        customer=customer, split_by=split_by, reason=reason, recorded_by=by, recorded_at=at
    )
    audit.record(
        by=by, at=at, action="split_invoices", subject=row, reason=reason, split_by=split_by
    )
    return row


def cut_by_workspace(invoice: Invoice, period: BillingPeriod, at: datetime) -> list[Invoice]:
    """Cut a draft that is issued next into one for the account and one for each workspace.

    Call under the customer's lock, with the draft as it will be issued. The first stays the draft
    itself: the account's, or the first workspace's where the account claims nothing. A part that
    claims again what a void invoice did refers to it.

    Returns:
        The drafts to issue, in order; the draft alone where it is not cut.
    """
    claims_overage = any(line.kind == LineKind.OVERAGE for line in invoice.lines.all())
    if not claims_overage or split_of(invoice.customer) != SplitBy.WORKSPACE:
        return [invoice]
    clear_lines(invoice)
    claims = claims_of(invoice, period, overage_state(period))
    if not claims:
        return [invoice]  # Nothing is claimed any more: whoever issues it looks again.
    own, parts = _divided(claims, period)
    if not own:  # The account claims nothing: the draft is the first workspace's.
        own, invoice.workspace_id = [parts[0].line], parts[0].workspace_id
        invoice.save(update_fields=["workspace"])
        parts = parts[1:]
    drafts = [_cut(invoice, part, period, at) for part in parts]
    write_claims(invoice, period, own)  # Last, with the statement of whatever is on no part.
    _refer([invoice, *drafts], period)
    return [invoice, *drafts]


def _refer(drafts: Sequence[Invoice], period: BillingPeriod) -> None:
    """Let each part refer to the void invoice that it claims again; no two refer to one."""
    found = replaced_by(drafts, period)
    for void, draft in sorted(
        zip(found, drafts, strict=True), key=lambda pair: pair[0] is not None
    ):
        if draft.replaces != void:  # Those that let go first.
            draft.replaces = void
            draft.save(update_fields=["replaces"])


def _divided(claims: Sequence[Line], period: BillingPeriod) -> tuple[list[Line], list[Share]]:
    """Return the lines of the account itself, and the shares of workspaces."""
    own: list[Line] = []
    parts: list[Share] = []
    for line in claims:
        if line.kind != Kind.OVERAGE:
            own.append(line)
            continue
        for share in divided_over(line, overage_by_workspace(uninvoiced(period, LineKind.OVERAGE))):
            if share.workspace_id is None:
                own.append(share.line)
            else:
                parts.append(share)
    return own, parts


def _cut(invoice: Invoice, share: Share, period: BillingPeriod, at: datetime) -> Invoice:
    draft = create_draft(
        Draft(
            customer=invoice.customer,
            subscription=invoice.subscription,
            currency=invoice.currency,
            service=Period(invoice.service_start_at, invoice.service_end_at),
            ready_at=invoice.ready_at,
            source_key=f"{invoice.source_key}:w{share.workspace_id}",
        ),
        at,
    )
    draft.workspace_id = share.workspace_id
    draft.save(update_fields=["workspace"])
    write_claims(draft, period, [share.line], share.workspace_id)
    return draft
