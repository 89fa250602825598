"""What exports of the journal are made of: postings with the codes that other ledgers know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection

from billing_project.kernel.errors import Conflict
from invoicing.models import MAIN_ENTITY, LegalEntity
from revrec.journal_forms import (
    Detail,
    Form,
    JournalLine,
    Layout,
    Mapped,
    by_day,
    header,
    rows,
)
from revrec.models import AccountCode, AccountMap, JournalExport, LedgerAccount, Posting
from revrec.tabular import csv_rows

NO_TAX = "Tax Exempt"
_AT_ONCE = 5_000

# In the order of their dates, so that a day is one journal; ties by place in the chain.
_LINES = """
SELECT e.id, e.effective_on, e.chain_position, p.position, e.description, e.kind, e.source_key,
       e.entry_sha256, p.account_id, p.amount_minor, coalesce(c.external_id, ''),
       coalesce(p.service_start_on::text, ''), coalesce(p.service_end_on::text, ''),
       CASE WHEN p.functional_currency = %(books)s THEN p.functional_minor
            WHEN p.currency = %(books)s THEN p.amount_minor END, coalesce(p.model, '')
  FROM journal_entry e JOIN posting p ON p.entry_id = e.id AND p.currency = %(currency)s
  LEFT JOIN customer c ON c.id = p.customer_id
 WHERE e.entity_id = %(entity)s AND e.chain_position BETWEEN %(first)s AND %(last)s
   AND (p.amount_minor <> 0 OR %(books)s <> '')
   AND (e.effective_on, e.chain_position, p.position) > (%(on)s, %(at)s, %(line)s)
 ORDER BY e.effective_on, e.chain_position, p.position LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Stretch:
    """Which postings, of whose books, for whom, in which codes."""

    entity: LegalEntity
    form: Form
    detail: Detail
    currency: str
    first_position: int
    last_position: int
    maps: "Maps"
    layout: Layout = Layout.AMOUNTS
    books_currency: str = ""  # In which the lines say what they are worth.

    @classmethod
    def of(cls, export: JournalExport) -> "Stretch":
        """Return the stretch that an export covers, in the codes that it was made with."""
        newest = export.account_map.number if export.account_map else 0
        return cls(
            export.entity,
            Form(export.form),
            Detail(export.detail),
            export.currency,
            export.first_position,
            export.last_position,
            Maps(newest),
            Layout(export.layout),
            export.books_currency,
        )


class Maps:
    """The versions of account codes up to one, and which governs a day."""

    def __init__(self, newest: int) -> None:
        versions = AccountMap.objects.filter(number__lte=newest).order_by("effective_on", "number")
        self._versions = list(versions)
        self._codes: dict[int, Mapping[str, Mapped]] = {}
        self._own = {
            account.pk: Mapped(account.pk, account.pk, NO_TAX)
            for account in LedgerAccount.objects.all()
        }

    def of(self, account: str, on: date) -> Mapped:
        """Return an account as the other ledger knows it on a day; without any version, our code.

        Raises:
            Conflict: the version of that day has no code for it (`account_not_mapped`).
        """
        governing = [version for version in self._versions if version.effective_on <= on]
        if not governing:
            return self._own[account]
        version = governing[-1]
        if version.pk not in self._codes:
            self._codes[version.pk] = {
                code.account_id: Mapped(code.code, code.name, version.tax_rate)
                for code in AccountCode.objects.filter(account_map=version)
            }
        found = self._codes[version.pk].get(account)
        if found is None:
            raise Conflict(
                f"{version} of {version.effective_on} has no code for account {account}",
                code="account_not_mapped",
            )
        return found


def export_lines(stretch: Stretch) -> Iterator[JournalLine]:
    """Read the lines of a stretch as its file has them, page after page."""
    lines = _entry_lines(stretch)
    return by_day(lines) if stretch.detail is Detail.DAY else lines


def file_pieces(stretch: Stretch) -> Iterator[bytes]:
    """Write the file of a stretch, piece by piece; the same bytes every time."""
    prefix = f"{_of_other(stretch.entity)}{stretch.first_position}-"
    lines = rows(stretch.form, export_lines(stretch), prefix, stretch.layout)
    yield from csv_rows(header(stretch.form, stretch.layout), lines)


def books_currency(entity_id: int, first: int, last: int, currency: str) -> str:
    """Return the currency in which a stretch's postings of a currency stand in the books.

    It is the one that they name, which is the same for all of an entity, or else their own.
    """
    told = Posting.objects.filter(
        entry__entity=entity_id, entry__chain_position__gte=first,
        entry__chain_position__lte=last, currency=currency, functional_currency__isnull=False,
    )  # fmt: skip
    return told.values_list("functional_currency", flat=True).first() or currency


def file_name(export: JournalExport) -> str:
    """Name an export's file."""
    whose = _of_other(export.entity)
    return f"journal-{whose}{export.form}-{export.currency}-{export.first_position}.csv"


def _of_other(entity: LegalEntity) -> str:
    """Return the code of another than the main entity with a dash: what its names begin with."""
    return "" if entity.pk == MAIN_ENTITY else f"{entity.code}-"


def _entry_lines(stretch: Stretch) -> Iterator[JournalLine]:
    after: Sequence[Any] = (date.min, 0, 0)
    while page := _page(stretch, after):
        for row in page:
            yield _line(row, stretch)
        after = page[-1][1:4]


def _page(stretch: Stretch, after: Sequence[Any]) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            _LINES,
            {
                "entity": stretch.entity.pk,
                "currency": stretch.currency,
                "first": stretch.first_position,
                "last": stretch.last_position,
                "on": after[0],
                "at": after[1],
                "line": after[2],
                "limit": _AT_ONCE,
                "books": stretch.books_currency,
            },
        )
        return list(cursor.fetchall())


def _line(row: Sequence[object], stretch: Stretch) -> JournalLine:
    pk, on, _, _, text, kind, key, sha256, account, amount, customer, start, end, worth, model = row
    assert isinstance(on, date)
    assert isinstance(amount, int)
    assert worth is None or isinstance(worth, int)
    return JournalLine(
        number=f"JE-{pk}",
        on=on,
        memo=str(text),
        account=str(account),
        mapped=stretch.maps.of(str(account), on),
        amount_minor=amount,
        currency=stretch.currency,
        customer=str(customer),
        description=str(text),
        evidence=(f"JE-{pk}", str(kind), str(key), str(start), str(end), str(sha256)),
        worth_minor=worth,
        worth_currency="" if worth is None else stretch.books_currency,
        model=str(model),
    )
