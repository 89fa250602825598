"""Who answers for a step: the newest row whose time has come; nobody who has left is named."""

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import AuditEntry, StepOwner, User
from billing_project.kernel.ownership import name_owner, owners_known
from billing_project.kernel.users import worker_user

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def named(person: User, at: datetime, since_at: datetime | None = None, **other: str) -> StepOwner:
    words = {"step": "rate", "function": "product", "reason": "hired", **other}
    return name_owner(person=person, since_at=since_at or at, by=person, at=at, **words)


def people(step: str, at: datetime) -> dict[str, str | None]:
    return {one.function: one.person for one in owners_known().of(step, at)}


def test_nobody_is_named_until_somebody_is(product: User, at: datetime) -> None:
    nobody = {"product": None, "engineering": None, "finance": None}
    named(product, at)

    assert people("rate", at - DAY) == nobody
    assert people("rate", at) == {**nobody, "product": "pat.product"}
    assert people("invoice", at) == nobody


def test_a_newer_row_replaces_from_its_own_instant_on(
    product: User, engineer: User, at: datetime
) -> None:
    named(product, at)
    named(engineer, at, at + 2 * DAY)

    assert people("rate", at + DAY)["product"] == "pat.product"
    assert people("rate", at + 2 * DAY)["product"] == "eli.engineer"
    assert StepOwner.objects.count() == 2


def test_who_has_left_is_still_who_answered_and_it_says_so(product: User, at: datetime) -> None:
    named(product, at)
    User.objects.filter(pk=product.pk).update(is_active=False)

    (one,) = [one for one in owners_known().of("rate", at) if one.function == "product"]

    assert (one.person, one.since_at, one.has_left) == ("pat.product", at, True)


def test_naming_is_written_down_with_its_reason(product: User, at: datetime) -> None:
    row = named(product, at, reason="took over from nobody")

    entry = AuditEntry.objects.get(action="name_step_owner")
    assert (entry.subject, entry.reason) == (f"stepowner:{row.pk}", "took over from nobody")
    assert entry.facts == {"step": "rate", "function": "product", "person": product.pk}


def test_the_same_person_is_not_named_twice_but_may_be_named_earlier(
    product: User, at: datetime
) -> None:
    named(product, at)

    with pytest.raises(Conflict):
        named(product, at + DAY)
    named(product, at, at - DAY)

    assert people("rate", at - DAY)["product"] == "pat.product"


@pytest.mark.parametrize(
    ("words", "field"),
    [({"step": "guess"}, "step"), ({"function": "sales"}, "function"), ({"reason": " "}, "reason")],
)
def test_bad_input_names_its_field(
    product: User, at: datetime, words: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        named(product, at, None, **words)

    assert (refused.value.field, StepOwner.objects.count()) == (field, 0)


def test_neither_a_service_nor_who_has_left_is_named(product: User, at: datetime) -> None:
    gone = User.objects.create_user("gone", is_active=False)

    for nobody in (gone, worker_user()):
        with pytest.raises(Invalid) as refused:
            named(nobody, at)
        assert refused.value.field == "person"


def test_postgresql_refuses_who_is_not_active_and_every_change(product: User, at: datetime) -> None:
    row = named(product, at)
    gone = User.objects.create_user("gone", is_active=False)
    insert = (
        "INSERT INTO step_owner"
        " (step, function, person_id, since_at, reason, named_by_id, named_at)"
        " SELECT {step}, function, {person}, since_at, {reason}, named_by_id, named_at"
        " FROM step_owner"
    )
    plain = {"step": "step", "person": "person_id", "reason": "reason"}

    for sql in (
        insert.format(**{**plain, "person": str(gone.pk)}),
        insert.format(**{**plain, "person": str(worker_user().pk)}),
        insert.format(**{**plain, "step": "'guess'"}),
        insert.format(**{**plain, "reason": "' '"}),
        "UPDATE step_owner SET reason = 'other'",
        "DELETE FROM step_owner",
        "TRUNCATE step_owner",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    with connection.cursor() as cursor:
        cursor.execute(insert.format(**plain))  # What is right is let in.

    assert StepOwner.objects.count() == 2
    assert StepOwner.objects.get(pk=row.pk).reason == "hired"
