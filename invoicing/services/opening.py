"""Take over what customers had elsewhere: a file is checked, approved by somebody else, applied.

A dry run lives through the whole file and undoes it, so that what it finds is what applying would
find. Each item takes effect once: its source's name of it is kept for ever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import Error, transaction
from django.db.models import Case, F, Value, When

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.errors import BillingError, Conflict, Invalid, NotAllowed
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.quantity import how_many
from billing_project.kernel.sessions import wait_for
from credits.models import CreditGrant, PricingUnit
from credits.services.grants import issue_grant
from invoicing.models import (
    OpeningImport,
    OpeningItem,
    OpeningItemState,
    OpeningState,
    Plan,
    StripeCustomer,
    Subscription,
)
from invoicing.opening import Fault, Item, ItemKind
from invoicing.selectors import governing_plan_version, items_of
from invoicing.selectors.opening import OPENING, content_of_opening, key_of
from invoicing.services.locks import require_permission
from invoicing.services.subscriptions import subscribe
from metering.models import Customer
from metering.services.customers import create_customer

MOST_ATTEMPTS = 5  # Of the worker, five minutes apart.
OPEN = (OpeningItemState.WAITING, OpeningItemState.FAILED)
_SHOWN = 20
_NOTED = {
    ItemKind.BALANCE: "held against the grants",
    ItemKind.CLAIM: "stays with the source until it is paid there",
    ItemKind.MONEY: "stays with the source",
    ItemKind.LEFT: "left behind",
}
# Who is granted credits, or sold a plan, is known first.
_ORDER = (ItemKind.CUSTOMER, ItemKind.GRANT, ItemKind.SUBSCRIPTION, *_NOTED)


@dataclass(frozen=True)
class OpeningFile:
    """A file of opening items, and where it comes from."""

    source: str
    name: str
    sha256: str


class BadItems(Invalid):
    """Lines that cannot be taken; nothing was written."""

    code = "bad_items"

    def __init__(self, faults: Sequence[Fault]) -> None:
        shown = "; ".join(map(str, faults[:_SHOWN]))
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        super().__init__(f"{how_many(len(faults), 'fault')}: {shown}{more}", field="file")
        self.faults = list(faults)


def check_openings(
    *, file: OpeningFile, items: Sequence[Item], by: User, at: datetime
) -> list[Fault]:
    """Live through a file and undo it; return what would not take effect. Writes nothing."""
    with transaction.atomic():
        faults = _taken_before(file, items)
        for number, item in enumerate(_new(_rows(file, items), file.source), start=1):
            item.pk = -number  # Names what it becomes; nothing of it is kept.
            try:
                with transaction.atomic():
                    _refuse_ended(item, at)
                    _make(item, by, at)
            except (BillingError, Error) as error:
                column = (error.field if isinstance(error, BillingError) else "") or item.kind
                faults.append(Fault(item.line, column, item.source_id, _why(error)))
        transaction.set_rollback(True)
    return sorted(faults, key=lambda fault: fault.line)


@transaction.atomic
def propose_openings(
    *, file: OpeningFile, items: Sequence[Item], reason: str, by: User, at: datetime
) -> OpeningImport:
    """Keep a file's items and propose that they take effect; the same file again is the same.

    Raises:
        NotAllowed: a service, or a person without the permission.
        Invalid: no items, or no reason.
        BadItems: an item was taken before with other content, or could not take effect. What
            could not before is proposed anew as it is now.
        Conflict: all of it was taken before, by other files.
    """
    if by.is_service:
        raise NotAllowed("a person proposes opening balances, so that somebody else approves them")
    require_permission(by, "invoicing.import_openings", "import opening balances")
    if not items:
        raise Invalid("a file with nothing in it opens nothing", field="file")
    if not reason.strip():
        raise Invalid("opening balances need their reason", field="reason")
    wait_for(f"{OPENING}:{file.source}")
    same = OpeningImport.objects.filter(source=file.source, content_sha256=file.sha256)
    before = same.exclude(state=OpeningState.CLOSED).first()
    if before is not None:
        return before
    if faults := check_openings(file=file, items=items, by=by, at=at):
        raise BadItems(faults)
    rows = _new(_rows(file, items), file.source)
    if not rows:
        raise Conflict("everything in this file was taken before", code="taken_before")
    made = OpeningImport(source=file.source, name=file.name[:255], content_sha256=file.sha256)
    propose_version(
        made,
        kind=OPENING,
        subject=f"{OPENING}:{file.source}:{file.sha256[:16]}:{same.count() + 1}",
        content=content_of_opening(made, rows),
        proposal=Proposal(
            title=f"Opening balances of {file.source}: {file.name}"[:200],
            product_requirement=reason,
            engineering_note=f"{len(rows)} items of a file with sha256 {file.sha256}",
            reason_code="opening_balance",
            effective_at=at,
        ),
        by=by,
        at=at,
    )
    _close_mended(rows, made)
    for row in rows:
        row.opening_import = made
    OpeningItem.objects.bulk_create(rows, batch_size=2_000)
    return made


def apply_openings(*, by: User, at: datetime) -> int:
    """Let approved imports take effect, and close refused ones; return the items that did.

    Safe to run twice at once. What fails is kept with its reason, and is tried again a few times;
    then it waits for a person.
    """
    waiting = OpeningImport.objects.filter(state=OpeningState.OPEN).exclude(
        policy_change__status=PolicyStatus.SUBMITTED
    )
    apply = partial(_apply, by=by, at=at)
    return each_apart(waiting.order_by("id").values_list("pk", flat=True), apply, step=OPENING)


def _apply(pk: int, by: User, at: datetime) -> int:
    row = OpeningImport.objects.select_related("policy_change__decided_by").get(pk=pk)
    if row.policy_change.status != PolicyStatus.APPROVED:
        _close(row, at)
        return 0
    ids = row.items.filter(state__in=OPEN, given_up_at=None).values_list("pk", "kind")
    in_order = sorted(ids, key=lambda one: (_ORDER.index(ItemKind(one[1])), one[0]))
    done = sum(_apply_item(item, by, at) for item, _ in in_order)
    finish(row, by, at)
    return done


def finish(row: OpeningImport, by: User, at: datetime) -> None:
    """Say that an import is applied once no item of it is open any more."""
    if row.items.filter(state__in=OPEN).exists():
        return
    is_over = OpeningImport.objects.filter(pk=row.pk, state=OpeningState.OPEN).update(
        state=OpeningState.APPLIED, closed_at=at
    )
    if is_over:
        audit.record(by=by, at=at, action="apply_openings", subject=row, items=row.items.count())


def _apply_item(pk: int, by: User, at: datetime) -> int:
    """Let one item take effect, in a transaction of its own; keep why it cannot."""
    try:
        with transaction.atomic():
            item = OpeningItem.objects.select_for_update().get(pk=pk)
            if item.state not in OPEN:
                return 0  # Another worker was first, or a person left it behind meanwhile.
            item.made, item.detail = _make(item, by, at)
            item.state, item.done_at = OpeningItemState.DONE, at
            item.given_up_at = None
            item.save(update_fields=["made", "detail", "state", "done_at", "given_up_at"])
    except (BillingError, Error) as error:
        rows = OpeningItem.objects.filter(pk=pk, state__in=OPEN)
        tried = F("attempt_count") + 1
        rows.update(
            state=OpeningItemState.FAILED, detail=_why(error)[:500], attempt_count=tried,
            given_up_at=Case(When(attempt_count__gte=MOST_ATTEMPTS - 1, then=Value(at))),
        )  # fmt: skip
        return 0
    return 1


def _why(error: BillingError | Error) -> str:
    return error.message if isinstance(error, BillingError) else str(error).splitlines()[0]


def _close(row: OpeningImport, at: datetime) -> None:
    with transaction.atomic():
        row.items.update(state=OpeningItemState.CLOSED)
        row.state, row.closed_at = OpeningState.CLOSED, at
        row.save(update_fields=["state", "closed_at"])


def _rows(file: OpeningFile, items: Sequence[Item]) -> list[OpeningItem]:
    return [
        OpeningItem(
            line=one.line, source=file.source, kind=one.kind.value, source_id=one.source_id,
            customer=one.customer, content=one.content,
        )
        for one in sorted(items, key=lambda one: (_ORDER.index(one.kind), one.line))
    ]  # fmt: skip


def _known(source: str, rows: Sequence[OpeningItem]) -> dict[tuple[str, str], OpeningItem]:
    """Return by kind and name what was taken before, or still waits to be."""
    found = OpeningItem.objects.exclude(state=OpeningItemState.CLOSED).filter(
        source=source, source_id__in={row.source_id for row in rows}
    )
    return {(row.kind, row.source_id): row for row in found}


def _new(rows: list[OpeningItem], source: str) -> list[OpeningItem]:
    known = _known(source, rows)
    return [
        row
        for row in rows
        if (before := known.get((row.kind, row.source_id))) is None or _is_mended(before, row)
    ]


def _is_mended(before: OpeningItem, row: OpeningItem) -> bool:
    """Tell whether an item could not take effect as it was, and says something else now."""
    return before.state == OpeningItemState.FAILED and not _say_the_same(before, row)


def _say_the_same(before: OpeningItem, row: OpeningItem) -> bool:
    return (before.customer, before.content) == (row.customer, row.content)


def _close_mended(rows: Sequence[OpeningItem], made: OpeningImport) -> None:
    """Let go of items that could not take effect and are proposed anew."""
    known = _known(made.source, rows)
    ids = [one.pk for row in rows if (one := known.get((row.kind, row.source_id)))]
    failed = OpeningItem.objects.filter(pk__in=ids, state=OpeningItemState.FAILED)
    failed.update(
        state=OpeningItemState.CLOSED, detail=f"proposed anew by {made}"[:500], given_up_at=None
    )


def _taken_before(file: OpeningFile, items: Sequence[Item]) -> list[Fault]:
    """Find items that were taken before, and say something else now."""
    rows = _rows(file, items)
    known = _known(file.source, rows)
    faults = []
    for row in rows:
        before = known.get((row.kind, row.source_id))
        if before is None or _say_the_same(before, row) or _is_mended(before, row):
            continue
        if row.kind not in _NOTED:
            said = f"what {before.opening_import} took: {before.content}"
            faults.append(Fault(row.line, "source_id", row.source_id, said))
    return faults


def _refuse_ended(item: OpeningItem, at: datetime) -> None:
    """Leave credits with the source whose time is over: their end was earned in the books of then.

    What ends between its proposal and its approval was taken over alive, and ends here.
    """
    expires_at = item.content.get("expires_at")
    if expires_at and datetime.fromisoformat(expires_at) <= at:
        raise Invalid(f"an end after {at:%Y-%m-%d %H:%M}: what is over stays with the source",
                      field="expires_at")  # fmt: skip


def _make(item: OpeningItem, by: User, at: datetime) -> tuple[str, str]:
    """Do what an item says; return what it became, and what there is to say of it."""
    kind = ItemKind(item.kind)
    if kind in _NOTED:
        return "", _NOTED[kind]
    make: dict[ItemKind, Callable[[OpeningItem, User, datetime], str]] = {
        ItemKind.CUSTOMER: _make_customer,
        ItemKind.GRANT: _make_grant,
        ItemKind.SUBSCRIPTION: _make_subscription,
    }
    return make[kind](item, by, at), ""


def _make_customer(item: OpeningItem, by: User, at: datetime) -> str:
    said = item.content
    customer = Customer.objects.filter(external_id=item.customer).first()
    if customer is None:
        customer = create_customer(
            external_id=item.customer, name=said["name"], currency=said["currency"],
            country=said["country"], email=said["email"], time_zone=said["time_zone"],
            by=by, at=at,
        )  # fmt: skip
    elif customer.currency != said["currency"]:
        raise Conflict(f"{customer} is billed in {customer.currency} here", code="other_currency")
    if stripe_id := said.get("stripe_id"):
        row, _ = StripeCustomer.objects.get_or_create(
            customer=customer, defaults={"stripe_id": stripe_id, "created_at": at}
        )
        if row.stripe_id != stripe_id:
            raise Conflict(f"{customer} is {row.stripe_id} at Stripe here")
    return f"customer:{customer.pk}"


def _make_grant(item: OpeningItem, by: User, at: datetime) -> str:
    said = item.content
    grant: CreditGrant = issue_grant(
        customer=_customer(item), category=said["category"], amount=Decimal(said["credits"]),
        pricing_unit=_unit(said["unit"]), reason_code="opening_balance",
        source_key=key_of(item), by=by, at=at,
        effective_at=datetime.fromisoformat(said["effective_at"]),
        expires_at=said["expires_at"] and datetime.fromisoformat(said["expires_at"]),
        price_minor=said["price_minor"], currency=said["currency"], priority=said["priority"],
        name=said["name"], is_promised=True,
    )  # fmt: skip
    return f"creditgrant:{grant.pk}"


def _make_subscription(item: OpeningItem, by: User, at: datetime) -> str:
    said, customer = item.content, _customer(item)
    start_at = datetime.fromisoformat(said["start_at"])
    plan = Plan.objects.filter(code=said["plan"]).first()
    version = None if plan is None else governing_plan_version(plan, start_at, customer)
    if version is None:
        raise Invalid(f"no plan {said['plan']} governs on {start_at:%Y-%m-%d}", field="plan")
    if "quantity" in said and start_at <= at:  # However long its approval took.
        raise Invalid("a paid period that goes on: Stripe billed the next one; export it anew",
                      field="current_period_end")  # fmt: skip
    # Stripe counts one of a plan that sells no seats, too.
    count, has_seats = said.get("quantity", 1), bool(items_of(version, "seat"))
    seats = count if "quantity" in said and (has_seats or count != 1) else said["seats"]
    sold: Subscription = subscribe(
        customer=customer, plan_version=version, start_at=start_at, seats=seats,
        by=by, at=at,
    )  # fmt: skip
    return f"subscription:{sold.pk}"


def _customer(item: OpeningItem) -> Customer:
    customer = Customer.objects.filter(external_id=item.customer).first()
    if customer is None:
        raise Invalid(f"there is no customer {item.customer}, here or in the file",
                      field="customer")  # fmt: skip
    return customer


def _unit(code: str) -> PricingUnit:
    unit = PricingUnit.objects.filter(code=code).first()
    unit = unit or PricingUnit.objects.filter(currency=code).first()
    if unit is None:
        codes = ", ".join(PricingUnit.objects.order_by("code").values_list("code", flat=True))
        raise Invalid(f"there is no pricing unit {code}; there are {codes or 'none'}", field="unit")
    return unit
