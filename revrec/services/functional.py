"""Say what entries are worth in the currency of their entity's books, as they are posted.

An entry in the books' own currency is left as it is. What stands from before an entity's books had
a currency is translated once, at the rate of the first entry's day, before anything is added to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from revrec.fx import Carried, Rate
from revrec.posting import About, Account, EntryKind, Lines, PostingLine
from revrec.selectors.exchange import (
    currencies_of_customers,
    currencies_of_entities,
    required_rate,
)
from revrec.selectors.holdings import Balance, Whose, pile_of
from revrec.services.drafts import EntryDraft
from revrec.translating import LIABILITIES, Holdings, key_of, translate


@dataclass
class Books:
    """The currencies in which the books of these drafts are kept, and what those carry by now."""

    at: datetime
    by_customer: Mapping[int, str]
    by_entity: Mapping[int, str]  # For what is nobody's.
    _holdings: dict[Whose, Holdings] = field(default_factory=dict)
    _rates: dict[tuple[str, str, date], Rate] = field(default_factory=dict)

    @classmethod
    def of(cls, drafts: Iterable[EntryDraft], at: datetime) -> "Books":
        """Find in which currency each draft's books are kept."""
        customers = {one.customer_id for one in drafts if one.customer_id is not None}
        entities = {one.entity_id for one in drafts if one.customer_id is None}
        return cls(
            at,
            currencies_of_customers(customers, at) if customers else {},
            currencies_of_entities(entities, at) if entities else {},
        )

    def functional_of(self, draft: EntryDraft) -> str | None:
        """Return the currency of a draft's books where it is another than the draft's own."""
        books = (
            self.by_entity.get(draft.entity_id)
            if draft.customer_id is None
            else self.by_customer.get(draft.customer_id)
        )
        return None if books == _currency_of(draft) else books

    def take_over(self, drafts: Sequence[EntryDraft], days: Sequence[date]) -> list[EntryDraft]:
        """Read what is carried of foreign currencies; return what translates what is not yet."""
        wanted: dict[Whose, set[int]] = {}
        first_day: dict[Whose, date] = {}
        for draft, day in zip(drafts, days, strict=True):
            if functional := self.functional_of(draft):
                whose = _whose(draft, functional)
                first_day[whose] = min(day, first_day.get(whose, day))
                wanted.setdefault(whose, set()).update(_promises(draft))
        return [
            translation
            for whose, promises in wanted.items()
            if (translation := self._read(whose, promises, first_day[whose]))
        ]

    def worth(self, draft: EntryDraft, on: date) -> Lines:
        """Return a draft's lines with what they are worth, and the difference of exchange.

        Raises:
            NotFound: there is no approved rate of the day (`rate_missing`).
        """
        functional = self.functional_of(draft)
        if functional is None or all(line.functional_minor is not None for line in draft.lines):
            return draft.lines
        currency = _currency_of(draft)
        rate = self._rate(currency, functional, on)
        told = translate(draft.lines, self._holdings[_whose(draft, functional)], rate)
        lines = [
            replace(line, functional_minor=worth)
            for line, worth in zip(draft.lines, told.book_minor, strict=True)
        ]
        if told.difference_minor:
            lines.append(PostingLine(Account.FX_RESULT, 0, About(currency), told.difference_minor))
        return tuple(lines)

    def _read(self, whose: Whose, promises: set[int], on: date) -> EntryDraft | None:
        customer_id, currency, functional = whose.customer_id, whose.currency, whose.functional
        pile = pile_of(whose, promises)
        self._holdings[whose] = pile.holdings
        if customer_id is None or not pile.untranslated:
            return None
        rate = self._rate(currency, functional, on)
        lines = _translated(pile.untranslated, currency, rate, pile.holdings)
        if len(lines) < 2:
            return None
        return EntryDraft(
            wanted_on=on,
            kind=EntryKind.BOOKS_TRANSLATED,
            description=f"{currency} put into {functional}, in which the books are kept",
            customer_id=customer_id,
            lines=lines,
            source_key=f"customer:{customer_id}:{currency}:translated:{functional}",
        )

    def _rate(self, currency: str, functional: str, on: date) -> Rate:
        key = currency, functional, on
        if key not in self._rates:
            self._rates[key] = required_rate(currency, functional, on, self.at)
        return self._rates[key]


def _translated(
    balances: Iterable[Balance], currency: str, rate: Rate, holdings: Holdings
) -> Lines:
    """Translate what stands there at one rate; it sums to zero, as the balances do."""
    lines, amount, book = [], 0, 0
    for balance in balances:
        amount += balance.amount_minor
        before, book = book, rate.of(amount)
        about = About(currency, balance.obligation_id)
        line = PostingLine(Account(balance.account), 0, about, book - before)
        if not line.functional_minor:
            continue
        lines.append(line)
        if key := key_of(balance.account, balance.obligation_id):
            holdings.move(key, 0, book - before)
        if balance.account in LIABILITIES and balance.obligation_id is not None:
            holdings.first[balance.obligation_id] = Carried(balance.amount_minor, book - before)
    return tuple(lines)


def _whose(draft: EntryDraft, functional: str) -> Whose:
    entity_id = draft.entity_id if draft.customer_id is None else None
    return Whose(draft.customer_id, entity_id, _currency_of(draft), functional)


def _currency_of(draft: EntryDraft) -> str:
    """Return the currency of an entry: it is in one."""
    return draft.lines[0].currency if draft.lines else ""


def _promises(draft: EntryDraft) -> set[int]:
    told = {line.about.obligation_id for line in draft.lines}
    return {pk for pk in told if pk is not None}
