"""Grant the credits that packs and commitments sold, once their invoice is paid."""

from datetime import datetime

from billing_project.kernel.models import User
from credits.models import GrantCategory, PricingUnit
from credits.services.grants import issue_grant
from invoicing.models import PREPAID, Invoice, InvoiceLine, InvoiceStatus, LineKind
from invoicing.selectors import grants_of_line, pack_steps


def issue_pack_grants(*, invoice: Invoice, effective_at: datetime, by: User, at: datetime) -> int:
    """Grant what a paid invoice's packs and commitments sold; call in what settles it.

    The grant's price is what the line claims in the end, less what notes took off it. A favour
    (goodwill, price concession) leaves all credits; any other note gives them up in proportion. A
    pack credited in full was not paid for and is not granted. A customer who was closed since
    the sale still gets what is paid. Credits of a commitment end with its term, and begin with it
    where it was paid before; one that is paid only after its term is over serves late usage of it.

    Returns:
        Grants issued.
    """
    if invoice.status != InvoiceStatus.PAID:
        return 0
    sold = invoice.lines.filter(kind__in=PREPAID)
    waiting = [line for line in sold if not grants_of_line(line).exists()]
    packs = [(line, left) for line in waiting if (left := pack_steps(line)[-1]).price_minor]
    for line, left in packs:
        begins_at, ends_at = _life(line, effective_at)
        issue_grant(
            customer=invoice.customer,
            category=GrantCategory.PAID,
            amount=left.credits,
            pricing_unit=PricingUnit.objects.get(code=line.unit),
            reason_code=line.kind,
            source_key=f"invoice_line:{line.pk}:pack",
            by=by,
            at=at,
            effective_at=begins_at,
            expires_at=ends_at,
            price_minor=left.price_minor,
            currency=invoice.currency,
            is_promised=True,
        )
    return len(packs)


def _life(line: InvoiceLine, paid_at: datetime) -> tuple[datetime, datetime | None]:
    """Return from when, and until when, what a line sold can be used."""
    if line.kind != LineKind.COMMITMENT:
        return paid_at, None
    if paid_at >= line.service_end_at:
        return line.service_start_at, line.service_end_at
    return max(paid_at, line.service_start_at), line.service_end_at
