"""Grant the credits that packs sold, once their invoice is paid."""

from datetime import datetime

from billing_project.kernel.models import User
from credits.models import GrantCategory, PricingUnit
from credits.services.grants import issue_grant
from invoicing.models import Invoice, InvoiceStatus, LineKind
from invoicing.selectors import grants_of_line, pack_steps


def issue_pack_grants(*, invoice: Invoice, effective_at: datetime, by: User, at: datetime) -> int:
    """Grant the credits of a paid invoice's packs; call in the transaction that settles it.

    The grant's price is what the line claims in the end, less what notes took off it. A favour
    (goodwill, price concession) leaves all credits; any other note gives them up in proportion. A
    pack credited in full was not paid for and is not granted. A customer who was closed since
    the sale still gets what is paid.

    Returns:
        Grants issued.
    """
    if invoice.status != InvoiceStatus.PAID:
        return 0
    sold = invoice.lines.filter(kind=LineKind.CREDIT_PACK)
    waiting = [line for line in sold if not grants_of_line(line).exists()]
    packs = [(line, left) for line in waiting if (left := pack_steps(line)[-1]).price_minor]
    for line, left in packs:
        issue_grant(
            customer=invoice.customer,
            category=GrantCategory.PAID,
            amount=left.credits,
            pricing_unit=PricingUnit.objects.get(code=line.unit),
            reason_code="credit_pack",
            source_key=f"invoice_line:{line.pk}:pack",
            by=by,
            at=at,
            effective_at=effective_at,
            price_minor=left.price_minor,
            currency=invoice.currency,
            is_promised=True,
        )
    return len(packs)
