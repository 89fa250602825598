"""Opening imports: their content as it is approved, and their parity with the source."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import Count, QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant
from invoicing.models import OpeningExplanation, OpeningImport, OpeningItem, OpeningItemState
from invoicing.opening import ItemKind

OPENING = "opening_balances"
_KEY, _GRANT = "opening_item:", "creditgrant:"
_ZERO = Decimal(0)
register_kind(
    Kind(
        OPENING, "Opening balances", is_rule=False,
        consequence="The worker makes the customers, grants and subscriptions that the file names."
        " What was paid for credits before stands in the books as owed, against opening balances.",
    )
)  # fmt: skip


def key_of(item: OpeningItem) -> str:
    """Return the source key of the grant that an item becomes: of the source's own name of it.

    PostgreSQL refuses a second grant of it, whatever files name it.
    """
    return _KEY + sha256_hex(canonical_json([item.source, item.customer, item.source_id]))


def is_opening_grant(grant: CreditGrant) -> bool:
    """Tell whether credits were sold before these books began."""
    return grant.source_key.startswith(_KEY)


def content_of_opening(row: OpeningImport, items: Iterable[OpeningItem]) -> dict[str, object]:
    """Return what is approved: how much of what, and a hash over every item."""
    counts: Counter[str] = Counter()
    credits_: dict[str, Decimal] = defaultdict(Decimal)
    prices: dict[str, int] = defaultdict(int)
    digest = hashlib.sha256()
    for item in items:
        counts[item.kind] += 1
        said = [item.line, item.kind, item.source_id, item.customer, item.content]
        digest.update(canonical_json(said).encode() + b"\n")
        if item.kind == ItemKind.GRANT:
            credits_[item.content["unit"]] += Decimal(item.content["credits"])
            prices[item.content["currency"]] += item.content["price_minor"]
    return {
        "source": row.source,
        "file": row.name,
        "file_sha256": row.content_sha256,
        "items": dict(counts),
        "credits": {unit: plain(amount) for unit, amount in credits_.items()},
        "paid_before": {code: str(Money(minor, code)) for code, minor in prices.items()},
        "items_sha256": digest.hexdigest(),
    }


@content_of(OPENING)
def _content(change: PolicyChange) -> dict[str, object]:
    row = OpeningImport.objects.get(policy_change=change)
    return content_of_opening(row, row.items.order_by("id").iterator(2_000))


@dataclass
class Parity:
    """What a source said of a customer in one unit, and what is here of it."""

    customer: str
    what: str  # "credits", "open invoices", "money balance", "subscriptions"
    unit: str
    source: Decimal = _ZERO
    planned: Decimal = _ZERO  # What the file makes, once all of it took effect.
    here: Decimal = _ZERO
    named: list[str] = field(default_factory=list)
    explained: Decimal = _ZERO  # How much of the difference the names come to.

    @property
    def difference(self) -> Decimal:
        """What is here beyond what the source said."""
        return self.here - self.source

    @property
    def unexplained(self) -> Decimal:
        """How much of the difference nobody and nothing explains."""
        return self.difference - self.explained

    @property
    def is_named(self) -> bool:
        """Tell whether nothing differs, or the names say all of it."""
        return not self.unexplained

    @property
    def why(self) -> str:
        """Name the difference."""
        if self.difference and not self.is_named:
            return "; ".join([*self.named, f"{plain(self.unexplained)} that nothing explains"])
        return "; ".join(self.named)


def parity_of(row: OpeningImport) -> list[Parity]:
    """Hold what an import made against what its source said, customer by customer."""
    found: dict[tuple[str, str, str], Parity] = {}

    def at(customer: str, what: str, unit: str) -> Parity:
        return found.setdefault((customer, what, unit), Parity(customer, what, unit))

    stated: dict[tuple[str, str], Decimal] = {}
    granted: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    items = list(row.items.order_by("id"))
    here = _granted_by(items)
    for item in items:
        if item.kind == ItemKind.BALANCE:
            unit, said = item.content["unit"], Decimal(item.content["credits"])
            stated[item.customer, unit] = stated.get((item.customer, unit), _ZERO) + said
            at(item.customer, "credits", unit)
        elif item.kind == ItemKind.GRANT:
            granted[item.customer, item.content["unit"]] += Decimal(item.content["credits"])
            _take_grant(at(item.customer, "credits", item.content["unit"]), item, here)
        else:
            _take_other(at, item)
    for (customer, what, unit), parity in found.items():
        if what == "credits":
            _hold(parity, granted[customer, unit], stated.get((customer, unit)))
    for explanation in row.explanations.select_related("explained_by").order_by("id"):
        _explain(at(explanation.customer, explanation.what, explanation.unit), explanation)
    return [found[key] for key in sorted(found)]


def _granted_by(items: Iterable[OpeningItem]) -> dict[str, Decimal]:
    """Return the amounts of the grants that items became, as the ledger has them."""
    ids = [item.made.removeprefix(_GRANT) for item in items if item.made.startswith(_GRANT)]
    rows = CreditGrant.objects.filter(pk__in=ids).values_list("pk", "amount")
    return {f"{_GRANT}{pk}": amount for pk, amount in rows}


def _take_grant(parity: Parity, item: OpeningItem, here: Mapping[str, Decimal]) -> None:
    if item.state == OpeningItemState.DONE:
        parity.here += here.get(item.made, _ZERO)
        return
    parity.explained -= Decimal(item.content["credits"])
    parity.named.append(f"grant {item.source_id} {_state(item)}")


def _take_other(at: Callable[[str, str, str], Parity], item: OpeningItem) -> None:
    if item.kind in (ItemKind.CLAIM, ItemKind.MONEY):
        what = "open invoices" if item.kind == ItemKind.CLAIM else "money balance"
        money = Money(item.content["amount_minor"], item.content["currency"])
        parity = at(item.customer, what, money.currency)
        parity.source += money.decimal
        parity.explained -= money.decimal
        parity.named.append(f"{item.content['number'] or item.source_id} stays with the source")
    elif item.kind == ItemKind.SUBSCRIPTION:
        parity = at(item.customer, "subscriptions", "")
        parity.source += 1
        parity.planned += 1
        if item.state == OpeningItemState.DONE:
            parity.here += 1
        else:
            parity.explained -= 1
            parity.named.append(f"{item.source_id} {_state(item)}")
    elif item.kind == ItemKind.LEFT:
        parity = at(item.customer, "left behind", "")
        parity.named.append(f"{item.content['what']}: {item.content['why']}")
    elif item.kind == ItemKind.CUSTOMER and item.state != OpeningItemState.DONE:
        at(item.customer, "customer", "").named.append(_state(item))


def _hold(parity: Parity, granted: Decimal, stated: Decimal | None) -> None:
    """Hold the grants of a file against the balance that the source states, if it does.

    What differs at the source itself is for a person to explain.
    """
    parity.source, parity.planned = granted if stated is None else stated, granted
    if stated is not None and granted != stated:
        parity.named.append(
            f"the source states {plain(stated)}, its grants come to {plain(granted)}"
        )


def _explain(parity: Parity, explanation: OpeningExplanation) -> None:
    """Take what a person said of a difference, as long as it is that one."""
    if parity.unexplained and parity.unexplained == explanation.difference:
        parity.explained += explanation.difference
        said = f"{explanation.explained_by}: {explanation.reason}"
        parity.named.append(f"{plain(explanation.difference)} explained by {said}")


def _state(item: OpeningItem) -> str:
    return f"{item.state}: {item.detail}" if item.detail else str(item.state)


def imports() -> QuerySet[OpeningImport]:
    """List imports, the newest first."""
    return OpeningImport.objects.select_related("policy_change__proposed_by").order_by("-id")


def failed_items() -> QuerySet[OpeningItem]:
    """List items that the worker gave up, the oldest first: a person decides on each."""
    given_up = OpeningItem.objects.filter(given_up_at__isnull=False)
    return given_up.select_related("opening_import__policy_change__proposed_by").order_by(
        "given_up_at", "id"
    )


def progress_of(row: OpeningImport) -> Counter[str]:
    """Count the items of an import by their state."""
    return Counter(dict(row.items.order_by().values_list("state").annotate(Count("pk"))))
