"""Count tries to sign in, by account and by address, and refuse when there were too many.

A try is written down before the password is looked at, and counts as a failure until it is known
to be none: a hundred at once are a hundred. What is refused is the same for accounts that exist
and for those that do not.
"""

import ipaddress
import logging
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils.crypto import salted_hmac

from billing_project.kernel import audit
from billing_project.kernel.errors import NotAllowed
from billing_project.kernel.models import SignInAttempt, SignInOutcome, SignInStep, User
from billing_project.kernel.sessions import wait_for

_COUNTED = (SignInOutcome.BEGUN, SignInOutcome.FAILED)
_FORGIVEN = (SignInOutcome.SIGNED_IN, SignInOutcome.LET_IN)
_logger = logging.getLogger(__name__)


class TooManyTries(NotAllowed):
    """So many tries failed of late that this account, or this address, has to wait."""

    code = "too_many_tries"
    status_code = 429


@dataclass(frozen=True)
class Origin:
    """Where a try comes from: the address, "" where it is not known, and the browser's words."""

    address: str = ""
    agent: str = ""

    @property
    def network(self) -> str:
        """What is counted as one address: of IPv6 the /64 that a household or a server has."""
        if ":" not in self.address:
            return self.address
        return str(ipaddress.ip_network(f"{self.address}/64", strict=False))


@transaction.atomic
def begin_attempt(
    *, step: SignInStep, username: str, origin: Origin, at: datetime
) -> SignInAttempt:
    """Write down a try before its secret is looked at; `end_attempt` says how it went.

    Raises:
        TooManyTries: too many failed of late; says until when to wait.
    """
    account = account_digest(username)
    wait_for(f"sign_in_account:{account}")
    wait_for(f"sign_in_network:{origin.network}")
    until = max(filter(None, (_account_waits(account, at), _network_waits(origin, at))), default=at)
    if until > at:
        _logger.warning("sign_in_refused", extra={"address": origin.address, "account": account})
        minutes = (until - at) // timedelta(minutes=1) + 1
        raise TooManyTries(
            f"Too many tries failed. Wait {minutes} minute{'s' * (minutes > 1)} and try again, or"
            " ask an owner to let you in."
        )
    return SignInAttempt.objects.create(
        at=at, step=step, account=account, address=origin.address, network=origin.network,
        agent=origin.agent[:300], outcome=SignInOutcome.BEGUN,
    )  # fmt: skip


def end_attempt(
    *, attempt: SignInAttempt, outcome: SignInOutcome, user: User | None
) -> SignInAttempt:
    """Say how a try went; whose it was stands there only if the account exists."""
    attempt.outcome, attempt.user = outcome, user
    attempt.save(update_fields=["outcome", "user"])
    return attempt


@transaction.atomic
def let_in_again(*, user: User, by: User, reason: str, at: datetime) -> SignInAttempt:
    """Let somebody try again at once: failures of this account until now count no more."""
    row = SignInAttempt.objects.create(
        at=at, step=SignInStep.PASSWORD, account=account_digest(user.username), user=user,
        outcome=SignInOutcome.LET_IN,
    )  # fmt: skip
    audit.record(by=by, at=at, action="let_in_again", subject=user, reason=reason)
    return row


def account_digest(username: str) -> str:
    """Return what an account is counted under, however its name's letters are written."""
    name = unicodedata.normalize("NFKC", username).strip().casefold()
    return salted_hmac("sign-in account", name, algorithm="sha256").hexdigest()


def _account_waits(account: str, at: datetime) -> datetime | None:
    rows = SignInAttempt.objects.filter(account=account)
    forgiven = rows.filter(outcome__in=_FORGIVEN).aggregate(last=Max("id"))["last"] or 0
    return _waits(rows.filter(id__gt=forgiven), settings.SIGN_IN_TRIES_PER_ACCOUNT, at)


def _network_waits(origin: Origin, at: datetime) -> datetime | None:
    if not origin.network:
        return None
    rows = SignInAttempt.objects.filter(network=origin.network)
    return _waits(rows, settings.SIGN_IN_TRIES_PER_ADDRESS, at)


def _waits(rows: QuerySet[SignInAttempt], most: int, at: datetime) -> datetime | None:
    """Return when the oldest of the last `most` failures is forgotten; until then nobody tries."""
    window = timedelta(minutes=settings.SIGN_IN_MINUTES)
    failed = rows.filter(outcome__in=_COUNTED, at__gt=at - window).order_by("-at", "-id")
    last = failed.values_list("at", flat=True)[most - 1 : most]
    return last[0] + window if last else None
