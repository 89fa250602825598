"""Where the books disagree with approved bases of grants, worked out from their own terms."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Sum

from billing_project.kernel.models import PolicyStatus
from revrec.allocation import Part, allocate_price
from revrec.models import GrantBasis, Posting
from revrec.posting import Account
from revrec.selectors.allocation_ties import CHANGES
from revrec.selectors.facts import PATIENCE, accounted, posted, unaccounted_bases
from revrec.selectors.tieouts import Mismatch
from revrec.sources import SourceType


def untied_bases(at: datetime) -> Iterator[Mismatch]:
    """Compare what each basis promised with its terms; list approved ones that wait for too long.

    Args:
        at: Now.
    """
    known = GrantBasis.objects.filter(accounted(SourceType.GRANT_BASIS))
    in_books = set(known.filter(posted(SourceType.GRANT_BASIS)).values_list("pk", flat=True))
    for basis in known.select_related("grant", "purchase", "policy_change").order_by("pk"):
        is_silent = basis.pk not in in_books and _was_changed(basis)
        expected = _worth(basis) if _is_approved(basis) and not is_silent else 0
        found = _promised(basis)
        if expected != found:
            yield Mismatch(f"grant_basis:{basis.pk}", str(expected), str(found))
    for basis in unaccounted_bases(at - PATIENCE).filter(
        policy_change__decided_at__lt=at - PATIENCE
    ):
        yield Mismatch(f"grant_basis:{basis.pk}", "in the books", "not accounted for")


def _is_approved(basis: GrantBasis) -> bool:
    return basis.policy_change.status == PolicyStatus.APPROVED


def _was_changed(basis: GrantBasis) -> bool:
    """Tell whether something came off the purchase beside this basis, so that it had no share."""
    others = GrantBasis.objects.filter(posted(SourceType.GRANT_BASIS), purchase=basis.purchase)
    changed = Posting.objects.filter(
        obligation__grant=basis.purchase, entry__kind__in=[*CHANGES, "price_allocated"]
    )
    return basis.purchase is not None and (others.exists() or changed.exists())


def _worth(basis: GrantBasis) -> int:
    if basis.purchase is None:
        return basis.price_minor
    assert basis.ssp is not None
    assert basis.likelihood is not None
    assert basis.purchase_ssp is not None
    assert basis.purchase_likelihood is not None
    sold = Part(basis.purchase_ssp * basis.purchase.amount, basis.purchase_likelihood)
    bonus = Part(basis.ssp * basis.grant.amount, basis.likelihood)
    return allocate_price(basis.purchase.price_minor, [sold, bonus])[1]


def _promised(basis: GrantBasis) -> int:
    posted = Posting.objects.filter(
        entry__source_key=f"grant_basis:{basis.pk}:promised",
        obligation__grant=basis.grant_id,
        account=Account.CREDITS_LIABILITY.value,
    )
    return -(posted.aggregate(sum=Sum("amount_minor"))["sum"] or 0)
