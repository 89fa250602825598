"""The weekly checkpoint of the controls: prepared from what happened, signed by a person, kept."""

from datetime import date, datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.period import DAY, midnight
from credits.models import ControlCheckpoint
from credits.selectors.checkpoint_facts import (
    Price,
    checkpoint_document,
    judges_of_own_work,
    sha256_of,
)


@transaction.atomic
def prepare_checkpoint(
    *, start_on: date, price_of: Price, by: User, at: datetime
) -> ControlCheckpoint:
    """Write down a week that has ended; a week that is written down stays as it is.

    Raises:
        Invalid: the week begins on no Monday. Conflict: it has not ended.
    """
    if start_on.weekday():
        raise Invalid("a week begins on a Monday", field="start_on")
    if at < midnight(start_on + 7 * DAY):
        raise Conflict("this week has not ended")
    if known := ControlCheckpoint.objects.filter(start_on=start_on).first():
        return known
    document = checkpoint_document(start_on, price_of, at)
    row = ControlCheckpoint.objects.create(
        start_on=start_on, end_on=start_on + 7 * DAY, document=document,
        document_sha256=sha256_of(document), prepared_by=by, prepared_at=at,
    )  # fmt: skip
    audit.record(by=by, at=at, action="prepare_checkpoint", subject=row)
    return row


@transaction.atomic
def sign_checkpoint(
    *, checkpoint: ControlCheckpoint, note: str, by: User, at: datetime
) -> ControlCheckpoint:
    """Sign what was prepared; once, by a person who has no own work in it.

    Raises:
        Invalid: a service, or no note. Conflict: somebody signed it already.
        NotAllowed: who planned what raised no anomaly, or decided on an exception.
    """
    if by.is_service:
        raise Invalid("a person signs")
    if not note.strip():
        raise Invalid("say what you looked at", field="reason")
    locked = ControlCheckpoint.objects.select_for_update(no_key=True, of=("self",)).get(
        pk=checkpoint.pk
    )
    if locked.signed_by_id is not None:
        raise Conflict(f"{locked.signed_by} signed it")
    if did := judges_of_own_work(locked).get(by.pk):
        raise NotAllowed(f"{by.username} {did} in this week: somebody else signs")
    locked.signed_by, locked.signed_at, locked.note = by, at, note
    locked.save(update_fields=["signed_by", "signed_at", "note"])
    audit.record(
        by=by, at=at, action="sign_checkpoint", subject=locked, reason=note,
        sha256=locked.document_sha256,
    )  # fmt: skip
    return locked
