"""Which invoice claims again what a void one claimed."""

from collections.abc import Sequence

from django.db.models import Q

from credits.models import BillingPeriod
from invoicing.models import Invoice, InvoiceStatus, LineKind, LineUsage


def replacement_of(void: Invoice) -> Invoice | None:
    """Return the draft or invoice that refers to a void one; else the one that holds its usage.

    One draft may claim again what several void invoices did, and refers to one of them.
    """
    named = Invoice.objects.filter(replaces=void).first()
    if named is not None:
        return named
    behind = LineUsage.objects.filter(line__invoice=void, kind=LineKind.OVERAGE)
    held = LineUsage.objects.filter(
        kind=LineKind.OVERAGE, is_void=False, rated_usage__in=behind.values("rated_usage")
    )
    return Invoice.objects.filter(lines__usage__in=held).order_by("id").first()


def replaced_by(drafts: Sequence[Invoice], period: BillingPeriod) -> list[Invoice | None]:
    """Find for each part of a draft the void invoice whose usage it claims again, if one does.

    A workspace's own goes before the account's, and the newest before older ones; each is claimed
    again by one part. What the whole draft referred to stays with the first part, where no part
    has its usage.
    """
    whole = drafts[0]
    open_voids = Invoice.objects.filter(
        Q(replacement=None) | Q(replacement=whole), status=InvoiceStatus.VOID,
        lines__billing_period=period, lines__kind=LineKind.OVERAGE,
    )  # fmt: skip
    left = list(open_voids.distinct().order_by("-id"))
    found = [_taken(draft, left) for draft in drafts]
    if whole.replaces is not None and whole.replaces not in found:
        found[0] = whole.replaces
    return found


def _taken(draft: Invoice, left: list[Invoice]) -> Invoice | None:
    """Take off a list the void invoice that a draft's usage was on."""
    if not left:
        return None
    own = LineUsage.objects.filter(line__invoice=draft, kind=LineKind.OVERAGE)
    before = LineUsage.objects.filter(
        kind=LineKind.OVERAGE, is_void=True, line__invoice__in=left,
        rated_usage__in=own.values("rated_usage"),
    )  # fmt: skip
    behind = set(before.values_list("line__invoice", flat=True))
    some = sorted(
        (void for void in left if void.pk in behind),
        key=lambda void: void.workspace_id != draft.workspace_id,
    )
    if not some:
        return None
    left.remove(some[0])
    return some[0]
