"""What people decide about opening balances: try again, leave behind, say why something differs."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import PolicyStatus, User
from invoicing.models import OpeningExplanation, OpeningImport, OpeningItem, OpeningItemState
from invoicing.selectors.opening import Parity, parity_of
from invoicing.services.locks import require_permission
from invoicing.services.opening import apply_openings, finish

_MAY = "invoicing.import_openings"
MAY_EXPLAIN = (_MAY, "kernel.approve_policychange")  # Never who proposed the import.


def retry_openings(*, row: OpeningImport, reason: str, by: User, at: datetime) -> int:
    """Try what failed of an approved import again, as often as at first; return what took effect.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason.
        Conflict: nothing of it failed, or it is not approved.
    """
    _refuse(by, reason)
    with transaction.atomic():
        imports = OpeningImport.objects.select_related("policy_change")
        locked = imports.select_for_update(of=("self",)).get(pk=row.pk)
        if locked.policy_change.status != PolicyStatus.APPROVED:
            raise Conflict(f"{row} is not approved")
        failed = locked.items.filter(state=OpeningItemState.FAILED)
        if not failed.update(attempt_count=0, given_up_at=None):
            raise Conflict(f"nothing of {row} failed")
        audit.record(by=by, at=at, action="retry_openings", subject=row, reason=reason)
    return apply_openings(by=by, at=at)


@transaction.atomic
def leave_behind(*, item: OpeningItem, reason: str, by: User, at: datetime) -> OpeningItem:
    """Leave an item that failed with its source; the same again changes nothing.

    Its source's name is free again: another file may bring it.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason.
        Conflict: it did not fail.
    """
    _refuse(by, reason)
    OpeningImport.objects.select_for_update(of=("self",)).get(pk=item.opening_import_id)
    locked = OpeningItem.objects.select_for_update(of=("self",)).get(pk=item.pk)
    if locked.state == OpeningItemState.CLOSED:
        return locked
    if locked.state != OpeningItemState.FAILED:
        raise Conflict(f"{locked} did not fail: it is {locked.state}")
    locked.detail = f"left behind by {by}: {reason}; it failed: {locked.detail}"[:500]
    locked.state, locked.given_up_at = OpeningItemState.CLOSED, None
    locked.save(update_fields=["detail", "state", "given_up_at"])
    audit.record(by=by, at=at, action="leave_opening_behind", subject=locked, reason=reason)
    finish(locked.opening_import, by, at)
    return locked


@transaction.atomic
def explain_parity(
    *, row: OpeningImport, customer: str, what: str, unit: str, difference: Decimal, reason: str,
    by: User, at: datetime,
) -> OpeningExplanation:  # fmt: skip
    """Keep a second person's reason for a difference from the source; once for each difference.

    Args:
        difference: What they saw that nothing explains; another one is another explanation.

    Raises:
        NotAllowed: a person without the permission, nobody in person, or who proposed the import.
        Invalid: no reason.
        Conflict: there is no such difference (any more).
    """
    _refuse(by, reason, *MAY_EXPLAIN)
    if by.is_service:
        raise NotAllowed("a person explains what differs, under their name")
    if refusal := why_not_explain(by, row):
        raise NotAllowed(refusal)
    OpeningImport.objects.select_for_update(of=("self",)).get(pk=row.pk)
    about = {"customer": customer, "what": what, "unit": unit, "difference": difference}
    before = row.explanations.filter(**about).first()
    if before is not None:
        return before
    if not any(_is(one, customer, what, unit, difference) for one in parity_of(row)):
        raise Conflict("there is no such difference: it may have changed since it was shown")
    made = OpeningExplanation.objects.create(
        opening_import=row, **about, reason=reason, explained_by=by, explained_at=at
    )
    audit.record(by=by, at=at, action="explain_parity", subject=made, reason=reason)
    return made


def why_not_explain(by: User, row: OpeningImport) -> str:
    """Say why a person cannot explain what differs of an import, or return ""."""
    if row.policy_change.proposed_by_id == by.pk:
        return "You proposed this import: somebody else explains what differs."
    return ""


def _is(parity: Parity, customer: str, what: str, unit: str, difference: Decimal) -> bool:
    named = (parity.customer, parity.what, parity.unit, parity.unexplained)
    return named == (customer, what, unit, difference)


def _refuse(by: User, reason: str, *permissions: str) -> None:
    if not any(by.has_perm(one) for one in permissions):
        require_permission(by, _MAY, "import opening balances")
    if not 0 < len(reason.strip()) <= 1000:
        raise Invalid("this needs its reason, in 1,000 characters", field="reason")
