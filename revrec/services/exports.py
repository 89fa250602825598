"""Hand stretches of the journal to other ledgers, each once, in the codes that those know."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from django.db import transaction
from django.db.models import Max

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from invoicing.models import LegalEntity
from invoicing.selectors.entities import main_entity
from revrec.journal_forms import Detail, Form, layout_of
from revrec.models import AccountCode, AccountMap, JournalExport, LedgerAccount, Posting
from revrec.selectors.exports import (
    Maps,
    Stretch,
    books_currency,
    export_lines,
    file_pieces,
)
from revrec.selectors.journal import chain_head
from revrec.services.journal import lock_chain_head


@dataclass(frozen=True)
class OtherCode:
    """What another ledger calls one of our accounts."""

    code: str
    name: str


@transaction.atomic
def map_accounts(
    *,
    codes: Mapping[str, OtherCode],
    effective_on: date,
    tax_rate: str,
    reason: str,
    by: User,
    at: datetime,
) -> AccountMap:
    """Keep a new version of the account codes; earlier exports keep theirs.

    Raises:
        NotAllowed: `by` is a person without the permission.
        Invalid: an account is unknown, has no code or name, or no reason is given; with its field.
    """
    _admit(by, "revrec.map_accounts")
    if not reason.strip():
        raise Invalid("a version of the codes needs its reason", field="reason")
    known = set(LedgerAccount.objects.values_list("pk", flat=True))
    for account, other in codes.items():
        if account not in known:
            raise Invalid(f"there is no account {account}", field="codes")
        if not other.code.strip() or not other.name.strip():
            raise Invalid(f"account {account} needs a code and a name", field="codes")
    if not codes:
        raise Invalid("a version names at least one account", field="codes")
    wait_for("account_map")
    version = AccountMap.objects.create(
        number=next_number(AccountMap.objects.all()), effective_on=effective_on,
        tax_rate=tax_rate, reason=reason, created_at=at, created_by=by,
    )  # fmt: skip
    AccountCode.objects.bulk_create(
        AccountCode(account_map=version, account_id=account, code=other.code, name=other.name)
        for account, other in sorted(codes.items())
    )
    audit.record(by=by, at=at, action="map_accounts", subject=version, reason=reason)
    return version


@transaction.atomic
def export_journal(
    *,
    form: Form,
    detail: Detail,
    currency: str,
    key: str,
    by: User,
    at: datetime,
    entity: LegalEntity | None = None,
) -> JournalExport:
    """Hand out all of an entity in a currency that was posted since the last export of this kind.

    Locks: the exports, then the head of the entity's chain, so that the stretch has no hole.

    Args:
        entity: Whose books; None: the main entity's.
        key: The caller's name for this attempt; said again, the same export is returned.

    Raises:
        NotAllowed: `by` is a person without the permission.
        Invalid: no such currency.
        Conflict: nothing was posted since (`nothing_to_export`), or an account has no code.
        IdempotencyConflict: the key stands for another kind of export.
    """
    _admit(by, "revrec.export_journal")
    if not is_currency(currency):
        raise Invalid("is not an ISO 4217 currency", field="currency")
    wait_for("journal_export")
    whose = entity or main_entity()
    made = JournalExport.objects.filter(source_key=key).first()
    if made is not None:
        said = (made.entity_id, made.form, made.detail, made.currency)
        if said != (whose.pk, form.value, detail.value, currency):
            raise IdempotencyConflict(f"{key} stands for another export")
        return made
    lock_chain_head(whose.pk)
    stretch = _next(whose, form, detail, currency)
    export = _counted(stretch)
    export.source_key, export.created_at, export.created_by = key, at, by
    export.save()
    audit.record(
        by=by, at=at, action="export_journal", subject=export, entity=whose.code,
        form=form.value, currency=currency, first_position=export.first_position,
        last_position=export.last_position, sha256=export.sha256,
    )  # fmt: skip
    return export


def _next(entity: LegalEntity, form: Form, detail: Detail, currency: str) -> Stretch:
    """Return the stretch from where the last export of this kind ended to the chain's head."""
    of_kind = JournalExport.objects.filter(
        entity=entity, form=form, detail=detail, currency=currency
    )
    first = (of_kind.aggregate(last=Max("last_position"))["last"] or 0) + 1
    head = chain_head(entity.pk)[0]
    has_any = Posting.objects.filter(
        entry__entity=entity, entry__chain_position__gte=first,
        entry__chain_position__lte=head, currency=currency,
    ).exists()  # fmt: skip
    if not has_any:
        raise Conflict(
            f"nothing was posted in {currency} since the last export", code="nothing_to_export"
        )
    newest = AccountMap.objects.aggregate(last=Max("number"))["last"] or 0
    books = books_currency(entity.pk, first, head, currency)
    layout = layout_of(form, is_foreign=books != currency)
    return Stretch(entity, form, detail, currency, first, head, Maps(newest), layout, books)


def _counted(stretch: Stretch) -> JournalExport:
    """Write the file once, for its sha256 and its totals."""
    digest = hashlib.sha256()
    for piece in file_pieces(stretch):
        digest.update(piece)
    count = debit = credit = books_debit = books_credit = 0
    for line in export_lines(stretch):
        count += 1
        debit += max(line.amount_minor, 0)
        credit += max(-line.amount_minor, 0)
        books_debit += max(line.worth_minor or 0, 0)
        books_credit += max(-(line.worth_minor or 0), 0)
    newest = AccountMap.objects.order_by("-number").first()
    return JournalExport(
        entity=stretch.entity,
        form=stretch.form.value,
        detail=stretch.detail.value,
        currency=stretch.currency,
        first_position=stretch.first_position,
        last_position=stretch.last_position,
        account_map=newest,
        line_count=count,
        debit_minor=debit,
        credit_minor=credit,
        layout=stretch.layout.value,
        books_currency=stretch.books_currency,
        books_debit_minor=books_debit,
        books_credit_minor=books_credit,
        sha256=digest.hexdigest(),
    )


def _admit(by: User, permission: str) -> None:
    if not by.is_service and not by.has_perm(permission):
        raise NotAllowed("only finance hands the journal to other ledgers")
