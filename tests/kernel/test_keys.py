"""API keys: shown once, stored as a hash, ended at once."""

from datetime import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing_project.kernel.errors import Invalid
from billing_project.kernel.keys import create_api_key, find_api_key, revoke_api_key
from billing_project.kernel.models import ApiKey, User

pytestmark = pytest.mark.django_db


def test_a_key_is_found_by_its_text_and_never_stored(at: datetime) -> None:
    key, token = create_api_key(name="app", scopes=["events:write", "usage:read"], at=at)

    assert find_api_key(token) == key
    assert token.split("_", 2)[2] not in str(vars(ApiKey.objects.get()))
    assert key.user.is_service
    assert not key.user.has_usable_password()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1],
        lambda t: t + "x",
        lambda t: t.replace("abk", "sk"),
        lambda t: "",
        lambda t: "abk_\x00_x",
        lambda t: "abk__",
    ],
)
def test_a_key_that_differs_at_all_is_unknown(at: datetime, change) -> None:  # type: ignore[no-untyped-def]
    _, token = create_api_key(name="app", scopes=["admin"], at=at)

    assert find_api_key(change(token)) is None


def test_a_revoked_key_is_unknown_at_once(engineer: User, at: datetime) -> None:
    key, token = create_api_key(name="app", scopes=["admin"], at=at)

    revoke_api_key(key=key, by=engineer, reason="leaked", at=at)

    assert find_api_key(token) is None


def test_a_scope_that_does_not_exist_is_refused(at: datetime) -> None:
    with pytest.raises(Invalid, match="got everything"):
        create_api_key(name="app", scopes=["everything"], at=at)


def test_the_command_prints_a_key_that_works() -> None:
    out = StringIO()

    call_command("create_api_key", "app", "--scope", "events:write", "usage:read", stdout=out)

    key = find_api_key(out.getvalue().strip())
    assert key is not None
    assert key.scopes == ["events:write", "usage:read"]


def test_the_command_says_which_scopes_exist() -> None:
    with pytest.raises(CommandError, match="events:write"):
        call_command("create_api_key", "app", "--scope", "nothing")
