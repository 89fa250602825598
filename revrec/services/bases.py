"""Give credits that cost nothing their price in the books: a concession, or a share of a purchase.

A grant for something that went wrong lowers revenue when it is given (rule 7); a bonus shares the
price of the purchase that it came with, by what both would cost alone (rule 1). Finance approves
each; what was used until then is caught up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from credits.models import CreditGrant, GrantCategory
from metering.services.customers import lock_customer
from revrec.allocation import Part, allocate_price
from revrec.basis import CostBasis, caught_up
from revrec.models import BasisCause, GrantBasis, ObligationKind, PerformanceObligation
from revrec.posting import (
    EntryKind,
    Lines,
    concession_promised,
    credits_used,
    price_allocated,
)
from revrec.selectors.allocations import held_shares
from revrec.selectors.bases import GRANT_BASIS, content_of_basis
from revrec.selectors.facts import accounted
from revrec.selectors.obligations import basis_of, ended_credits, used_credits, used_so_far
from revrec.services.drafts import Run, about
from revrec.services.grants import end_of_credits
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.sources import Source, SourceType

_OPEN = (PolicyStatus.SUBMITTED, PolicyStatus.APPROVED)
_ONE = Decimal(1)
_SSP_STEP, _LIKELIHOOD_STEP = Decimal("0.000000000001"), Decimal("0.00000001")


@dataclass(frozen=True)
class Alone:
    """What one credit would cost alone, in major units, and which share of them will be used."""

    ssp: Decimal
    likelihood: Decimal = _ONE


def basis_words(title: str, evidence: str, at: datetime) -> Proposal:
    """Return the words of a proposal that counts from now on."""
    return Proposal(
        title=title,
        product_requirement=evidence,
        engineering_note="Promised in the books and earned as it is used (IFRS 15.51, 76).",
        reason_code="basis",
        effective_at=at,
    )


@transaction.atomic
def propose_concession(
    *, grant: CreditGrant, price_minor: int, evidence: str, proposal: Proposal, by: User,
    at: datetime,
) -> GrantBasis:  # fmt: skip
    """Propose what credits given for something that went wrong take off revenue (IFRS 15.51-52).

    Args:
        price_minor: The concession, > 0, in the grant's currency.

    Raises:
        Invalid: no amount, no evidence, or a grant of another kind; with its field.
        Conflict: the grant has a basis, or one that waits.
    """
    if price_minor <= 0:
        raise Invalid("a concession is more than nothing", field="price_minor")
    if grant.category != GrantCategory.GOODWILL:
        raise Invalid("only goodwill concedes a price", field="grant")
    basis = GrantBasis(
        grant=grant, cause=BasisCause.CONCESSION, price_minor=price_minor,
        currency=grant.currency, evidence=evidence,
    )  # fmt: skip
    return _proposed(basis, proposal, by, at)


@transaction.atomic
def propose_bonus(
    *, grant: CreditGrant, purchase: CreditGrant, alone: Alone, purchase_alone: Alone,
    evidence: str, proposal: Proposal, by: User, at: datetime,
) -> GrantBasis:  # fmt: skip
    """Propose which share of a purchase's price a bonus takes: by selling prices and likelihoods.

    Raises:
        Invalid: a price or likelihood out of bounds, no evidence, or grants that are no purchase
            and its bonus; with its field.
        Conflict: the bonus has a basis, or one that waits; or the purchase is no longer whole, or
            shares its price with a contract, or with one that waits.
    """
    lock_customer(grant.customer_id)
    _refuse_no_price(alone, "")
    _refuse_no_price(purchase_alone, "purchase_")
    _refuse_unrelated(grant, purchase)
    parts = [
        Part(one.ssp * of.amount, one.likelihood)
        for one, of in ((purchase_alone, purchase), (alone, grant))
    ]
    basis = GrantBasis(
        grant=grant, cause=BasisCause.BONUS, currency=grant.currency, purchase=purchase,
        price_minor=allocate_price(purchase.price_minor, parts)[1],
        ssp=alone.ssp, likelihood=alone.likelihood, purchase_ssp=purchase_alone.ssp,
        purchase_likelihood=purchase_alone.likelihood, evidence=evidence,
    )  # fmt: skip
    if not basis.price_minor:
        raise Invalid("its share of the price is nothing: it needs no basis", field="ssp")
    return _proposed(basis, proposal, by, at)


def account_basis(run: Run, basis: GrantBasis) -> int:
    """Promise what an approved basis says, and earn what was used of it; return the entries posted.

    What was earned or taken off until finance approved must have been accounted for before: a
    purchase of which something came off has no share to give, and is left as it is.
    """
    if basis.purchase is not None and not _is_whole(basis.purchase):
        note_nothing_to_post(sources=[Source(SourceType.GRANT_BASIS, basis.pk)])
        return 0
    return len(post_entries(drafts=_drafts(run, basis), by=run.by, at=run.at))


def _is_whole(purchase: CreditGrant) -> bool:
    """Tell whether a purchase is promised at its whole price, as far as the books know."""
    promise = PerformanceObligation.objects.filter(grant=purchase).first()
    return promise is None or promise.price_minor == purchase.price_minor


def _drafts(run: Run, basis: GrantBasis) -> list[EntryDraft]:
    promise = PerformanceObligation.objects.create(
        customer_id=run.customer_id,
        kind=ObligationKind.CREDITS,
        grant=basis.grant,
        currency=basis.currency,
        price_minor=basis.price_minor,
        source_key=f"grant_basis:{basis.pk}",
    )
    source = (Source(SourceType.GRANT_BASIS, basis.pk),)
    minor, mine = basis.price_minor, about(promise)
    if basis.purchase is None:
        lines = concession_promised(minor, mine)
        first = [_entry(run, basis, EntryKind.CONCESSION_PROMISED, "promised", lines, source)]
    else:
        purchase = PerformanceObligation.objects.get(grant=basis.purchase)
        lines = price_allocated(minor, about(purchase), mine)
        first = [
            _entry(run, basis, EntryKind.PRICE_ALLOCATED, "promised", lines, source),
            *_given_up(run, basis, purchase),
        ]
    return [*first, *_caught_up(run, basis, promise)]


def _given_up(run: Run, basis: GrantBasis, purchase: PerformanceObligation) -> Iterator[EntryDraft]:
    """Lower a purchase by what it gives up; what its used credits earned of that goes back."""
    before, used = basis_of(purchase), used_credits(purchase)
    after = CostBasis(before.price_minor - basis.price_minor, before.credits)
    earned = before.earned(used) - after.earned(used)
    deferred = purchase.price_minor - purchase.recognised_minor
    broken = max(0, basis.price_minor - earned - deferred)  # Its end had taken it.
    purchase.price_minor -= basis.price_minor
    purchase.recognised_minor -= earned + broken
    purchase.save(update_fields=["price_minor", "recognised_minor"])
    yield from _moved(run, basis, purchase, (-earned, -broken), "given_up")


def _caught_up(run: Run, basis: GrantBasis, promise: PerformanceObligation) -> Iterator[EntryDraft]:
    """Earn what was used or ended while the credits had no price."""
    used = used_so_far(promise)
    used.save()
    own = CostBasis(basis.price_minor, basis.grant.amount)
    earned, broken = caught_up(own, used.credits, ended_credits(promise))
    promise.recognised_minor = earned + broken
    promise.save(update_fields=["recognised_minor"])
    yield from _moved(run, basis, promise, (earned, broken), "caught_up")


def _moved(
    run: Run, basis: GrantBasis, promise: PerformanceObligation, amounts: tuple[int, int], word: str
) -> Iterator[EntryDraft]:
    earned, broken = amounts
    if earned:
        lines = credits_used(earned, about(promise))
        yield _entry(run, basis, EntryKind.CREDITS_USED, f"{word}:used", lines)
    if broken:
        kind, lines = end_of_credits(promise, broken, about(promise))
        yield _entry(run, basis, kind, f"{word}:ended", lines)


def _entry(
    run: Run, basis: GrantBasis, kind: EntryKind, word: str, lines: Lines,
    sources: tuple[Source, ...] = (),
) -> EntryDraft:  # fmt: skip
    given_on = run.day_of(basis.grant.created_at)
    return EntryDraft(
        wanted_on=max(run.day_of(basis.policy_change.effective_at), given_on),
        kind=kind,
        description=f"{basis.get_cause_display()}: grant {basis.grant_id}",
        customer_id=run.customer_id,
        lines=lines,
        source_key=f"grant_basis:{basis.pk}:{word}",
        sources=sources,
    )


def _proposed(basis: GrantBasis, proposal: Proposal, by: User, at: datetime) -> GrantBasis:
    if not basis.evidence.strip():
        raise Invalid("a basis needs its evidence", field="evidence")
    lock_customer(basis.grant.customer_id)
    before = GrantBasis.objects.filter(grant=basis.grant)
    if before.filter(policy_change__status__in=_OPEN).exists():
        raise Conflict(f"grant {basis.grant_id} has a basis, or one that waits for approval")
    return propose_version(
        basis,
        kind=GRANT_BASIS,
        subject=f"{GRANT_BASIS}:{basis.grant_id}:{before.count() + 1}",
        content=content_of_basis(basis),
        proposal=proposal,
        by=by,
        at=at,
    )


def _refuse_no_price(alone: Alone, of: str) -> None:
    for name, value, most, step in (
        ("ssp", alone.ssp, Decimal(10**12), _SSP_STEP),
        ("likelihood", alone.likelihood, _ONE, _LIKELIHOOD_STEP),
    ):
        if not value.is_finite() or not 0 < value <= most or value != value.quantize(step):
            raise Invalid(
                f"is above 0 and at most {most:f}, in steps of {step:f}", field=f"{of}{name}"
            )


def _refuse_unrelated(grant: CreditGrant, purchase: CreditGrant) -> None:
    if grant.category != GrantCategory.PROMOTIONAL or grant.origin_id is not None:
        raise Invalid("only promotional credits are a bonus", field="grant")
    is_sale = purchase.price_minor > 0 and purchase.origin_id is None
    of_one = (purchase.customer_id, purchase.currency) == (grant.customer_id, grant.currency)
    if not is_sale or not of_one:
        raise Invalid("a bonus comes with a purchase of the same customer", field="purchase")
    waiting = GrantBasis.objects.filter(
        ~accounted(SourceType.GRANT_BASIS), purchase=purchase, policy_change__status__in=_OPEN
    )
    if waiting.exclude(grant=grant).exists():
        raise Conflict(f"grant {purchase.pk} shares its price with a bonus that waits")
    if not _is_whole(purchase):
        raise Conflict(f"grant {purchase.pk} is no longer at its whole price: something came off")
    lines = held_shares().filter(allocation__customer=purchase.customer_id)
    held = {f"invoice_line:{pk}:pack" for pk in lines.values_list("invoice_line", flat=True)}
    if purchase.source_key in held:
        raise Conflict(f"grant {purchase.pk} is in a contract, or in one that waits for approval")
