"""Seal the heads of the journal with the key outside the database; hand the seal out as a file."""

import logging
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, NotAllowed
from billing_project.kernel.models import User
from invoicing.models import MAIN_ENTITY, LegalEntity
from invoicing.selectors.entities import seller_at
from revrec.links import Head
from revrec.models import AccountingPeriod, LedgerSeal, PeriodStatus
from revrec.sealing import (
    BadSeal,
    file_text,
    manifest_text,
    new_key,
    public_key_of,
    public_pem,
    sign,
)
from revrec.selectors.journal import chain_head
from revrec.selectors.seals import chain_contents
from revrec.services.anchoring import refuse_older_state
from revrec.services.journal import lock_chain_head

logger = logging.getLogger(__name__)


@transaction.atomic
def seal_period(
    *, period: AccountingPeriod, by: User, at: datetime, reason: str = ""
) -> LedgerSeal:
    """Seal the journal as it stands under a closed month's name, once: the head of each chain.

    The seal's file goes to SEALS_DIR after the commit. Locks: the heads of all chains.

    Raises:
        NotAllowed: `by` is a person without the permission.
        Conflict: the month is open or sealed already, or there is no key (`no_sealing_key`).
        OlderState: the journal ends before the last sealed head outside the database.
    """
    if not by.is_service and not by.has_perm("revrec.close_accountingperiod"):
        raise NotAllowed("only finance approvers seal the journal")
    if period.status != PeriodStatus.CLOSED:
        raise Conflict(f"{period} is open; a month is sealed when it closes")
    entities = list(LegalEntity.objects.order_by("pk"))
    for one in entities:
        lock_chain_head(one.pk)
    refuse_older_state()
    if LedgerSeal.objects.filter(period=period).exists():
        raise Conflict(f"{period} is sealed already", code="period_sealed")
    key, chains = sealing_key(), chain_contents(entities)
    entity, head = seller_at(MAIN_ENTITY, at).name, Head(*chain_head())
    text = manifest_text(
        entity=entity,
        period=(period.start_on, period.end_on),
        trial_balance_sha256=period.trial_balance_sha256,
        chains=chains,
        at=at,
    )
    seal = LedgerSeal.objects.create(
        period=period,
        entity=entity,
        head_position=head.position,
        head_sha256=head.sha256,
        manifest=text,
        signature=sign(text, key),
        public_key=public_key_of(key),
        sealed_at=at,
        sealed_by=by,
    )
    audit.record(
        by=by, at=at, action="seal_ledger", subject=seal, reason=reason, period=str(period),
        head_position=head.position, head_sha256=head.sha256,
    )  # fmt: skip
    transaction.on_commit(lambda: _hand_out(seal))
    return seal


def sealing_key() -> bytes:
    """Read the private key that seals.

    Raises:
        Conflict: there is none, or it is not one (`no_sealing_key`).
    """
    try:
        key = Path(settings.SEALING_KEY_FILE).read_bytes()
        public_key_of(key)
    except OSError as error:
        raise Conflict(
            "there is no key to seal the journal with: name it in SEALING_KEY_FILE,"
            " or make one with manage.py make_sealing_key",
            code="no_sealing_key",
        ) from error
    except BadSeal as error:
        raise Conflict(f"SEALING_KEY_FILE: {error}", code="no_sealing_key") from error
    return key


def make_sealing_key() -> Path:
    """Make the key at SEALING_KEY_FILE, for its owner's eyes only, and its public half beside it.

    Returns:
        Path of the public half, which auditors need.

    Raises:
        Conflict: a key is there already; it is never replaced.
    """
    path, key = Path(settings.SEALING_KEY_FILE), new_key()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)
    if path.stat().st_size:
        raise Conflict(f"{path.name} is a key already; move it away to make another")
    path.write_bytes(key)
    public = path.with_suffix(".pub.pem")
    public.write_bytes(public_pem(key))
    return public


def seal_file(seal: LedgerSeal) -> tuple[str, str]:
    """Return the name and the text of a seal's file."""
    name = f"ledger-{seal.period}-{seal.head_sha256[:12]}.seal.json"
    return name, file_text(seal.manifest, seal.signature, seal.public_key)


def _hand_out(seal: LedgerSeal) -> None:
    """Keep the seal where the database cannot reach; it can be downloaded again at any time.

    It appears whole under its name, for whoever holds the journal against it meanwhile.
    """
    name, text = seal_file(seal)
    try:
        folder = Path(settings.SEALS_DIR)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.part"
        part.write_text(text)
        part.replace(folder / name)
    except OSError:
        logger.exception("seal not written", extra={"seal": seal.pk})
