"""Codes as RFC 6238 has them, each taken once; recovery codes; a lost phone's reset."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import Error, connection, transaction

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import AuditEntry, RecoveryCode, SecondFactor, User
from billing_project.kernel.signins.factors import (
    enrol_factor,
    factor_of,
    reset_factor,
    secret_to_enrol,
    take_code,
)
from billing_project.kernel.signins.totp import (
    code_of,
    enrolment_uri,
    matching_step,
    secret_text,
    step_at,
)

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=30)
NONCE = "a nonce"
RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "digits"),  # RFC 6238, appendix B, SHA1; six digits are the last six of eight.
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, digits: str) -> None:
    assert code_of(RFC_SECRET, step_at(datetime.fromtimestamp(seconds, UTC))) == digits


def test_a_code_lives_for_its_half_minute_and_one_either_side() -> None:
    step = step_at(AT)

    found = {
        d: matching_step(RFC_SECRET, code_of(RFC_SECRET, step + d), AT, -1) for d in range(-2, 3)
    }

    assert found == {-2: None, -1: step - 1, 0: step, 1: step + 1, 2: None}


def test_a_code_is_used_up_with_those_before_it() -> None:
    step = step_at(AT)

    assert matching_step(RFC_SECRET, code_of(RFC_SECRET, step), AT, step) is None
    assert matching_step(RFC_SECRET, code_of(RFC_SECRET, step - 1), AT, step) is None
    assert matching_step(RFC_SECRET, code_of(RFC_SECRET, step + 1), AT, step) == step + 1


@pytest.mark.parametrize("code", ["", "28708", "2870820", "abcdef", "٢٨٧٠٨٢", "\x00"])
def test_no_other_text_is_a_code(code: str) -> None:
    assert matching_step(RFC_SECRET, code, datetime.fromtimestamp(59, UTC), -1) is None


def test_the_app_is_told_secret_issuer_and_account() -> None:
    assert secret_text(RFC_SECRET) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
    assert enrolment_uri(RFC_SECRET, "Billing back office", "a&b@c") == (
        "otpauth://totp/Billing%20back%20office%3Aa%26b%40c"
        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Billing%20back%20office"
    )


def code(at: datetime = AT, nonce: str = NONCE) -> str:
    return code_of(secret_to_enrol(nonce), step_at(at))


def enrol(user: User, nonce: str = NONCE) -> tuple[SecondFactor, list[str]]:
    return enrol_factor(user=user, nonce=nonce, code=code(nonce=nonce), at=AT)


@pytest.mark.django_db
def test_a_code_is_taken_once(support: User) -> None:
    factor, _ = enrol(support)
    later = AT + STEP

    assert take_code(user=support, code=code(), at=AT) is None  # It proved the phone.
    assert take_code(user=support, code=f" {code(later)[:3]} {code(later)[3:]}", at=later) == factor
    assert take_code(user=support, code=code(later), at=later) is None


@pytest.mark.django_db
def test_a_recovery_code_opens_once_and_is_told_of(support: User) -> None:
    factor, codes = enrol(support)

    assert len(set(codes)) == 10
    assert take_code(user=support, code=codes[3].upper(), at=AT) == factor
    assert take_code(user=support, code=codes[3], at=AT) is None
    assert take_code(user=support, code=codes[4].replace("-", ""), at=AT) == factor
    assert AuditEntry.objects.filter(action="use_recovery_code").count() == 2
    stored = str(list(RecoveryCode.objects.values()))
    assert not any(text.replace("-", "") in stored for text in codes)


@pytest.mark.django_db
def test_another_persons_codes_open_nothing(support: User, approver: User) -> None:
    _, codes = enrol(support)
    enrol(approver, "another nonce")

    assert take_code(user=approver, code=codes[0], at=AT) is None
    assert take_code(user=approver, code=code(AT + STEP), at=AT + STEP) is None


@pytest.mark.django_db
def test_who_types_a_wrong_code_has_set_up_nothing(support: User) -> None:
    with pytest.raises(Invalid, match="clock"):
        enrol_factor(user=support, nonce=NONCE, code="000000", at=AT - timedelta(days=1))

    assert factor_of(support) is None


@pytest.mark.django_db
def test_a_new_one_ends_the_old_one_with_its_codes(support: User) -> None:
    old, codes = enrol(support)

    new, _ = enrol(support, "a newer nonce")

    assert factor_of(support) == new != old
    assert take_code(user=support, code=codes[0], at=AT) is None


@pytest.mark.django_db
def test_a_key_that_is_rotated_still_knows_the_phone(support: User, settings: Any) -> None:
    factor, codes = enrol(support)
    later = AT + STEP
    typed, settings.SECRET_KEY_FALLBACKS = code(later), [settings.SECRET_KEY]
    settings.SECRET_KEY = "new" * 20

    assert take_code(user=support, code=typed, at=later) == factor
    settings.SECRET_KEY_FALLBACKS = []
    assert take_code(user=support, code=code(later + STEP), at=later + STEP) is None
    assert take_code(user=support, code=codes[0], at=later) == factor


@pytest.mark.django_db
def test_a_reset_takes_it_away_for_a_reason(support: User, approver: User) -> None:
    _, codes = enrol(support)

    reset_factor(user=support, by=approver, reason="Lost phone", at=AT)

    assert take_code(user=support, code=codes[0], at=AT) is None
    assert AuditEntry.objects.get(action="reset_second_factor").reason == "Lost phone"
    with pytest.raises(Conflict):
        reset_factor(user=support, by=approver, reason="Again", at=AT)


@pytest.mark.django_db
def test_the_database_keeps_one_each_and_what_it_is_made_of(support: User) -> None:
    factor, _ = enrol(support)

    with pytest.raises(Error, match="second_factor_one_each"), transaction.atomic():
        SecondFactor.objects.create(
            user=support, nonce="x", secret_sha256="x", enrolled_at=AT, last_step=0
        )
    for statement in (
        f"UPDATE second_factor SET nonce = 'mine' WHERE id = {factor.pk}",
        "UPDATE recovery_code SET sha256 = 'mine'",
        "DELETE FROM recovery_code",
    ):
        with pytest.raises(Error), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
