"""Pages of a long list, each found by the row that it begins after or ends before.

A page by number makes PostgreSQL read every row in front of it: the ten-thousandth page of a
million rows takes seconds. Here the address names a row (`?p=after:7`, `?p=before:7`, `?p=last`),
and an index leads to it. The row's own values are read again, so that the address holds no value of
a column and stays true to whatever the list is sorted by. A row that is not there any more, or a
page's number of before, is the first page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import F, Model, Q
from django.db.models.expressions import OrderBy
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

_AFTER, _BEFORE, _LAST = "after", "before", "last"


@dataclass(frozen=True)
class Column:
    """A column that a list is sorted by."""

    path: str
    is_descending: bool = False
    may_be_empty: bool = True

    def turned(self) -> "Column":
        """Sort the other way round."""
        return replace(self, is_descending=not self.is_descending)

    @property
    def order(self) -> OrderBy:
        """What to sort by; PostgreSQL takes an empty value for the largest."""
        return F(self.path).desc() if self.is_descending else F(self.path).asc()


@dataclass(frozen=True)
class Turns:
    """Where one may turn to; empty: nowhere."""

    first: str = ""
    previous: str = ""
    following: str = ""
    last: str = ""


class KeysetPaginator(InfinitePaginator):  # type: ignore[misc]
    """Counts nothing; its pages are turned by key."""

    template_name = "backoffice/turns.html"


class KeysetChangeList(ChangeList):  # type: ignore[misc]
    """A list that turns its pages by key where it is not counted."""

    turns = Turns()

    def get_results(self, request: HttpRequest) -> None:
        """Read the page that the address names."""
        super().get_results(request)  # Its page is not read yet.
        if not isinstance(self.paginator, KeysetPaginator):
            return
        if columns := columns_of(self.model, self.queryset.query.order_by):
            self.page_num = 1
            self._turn(str(request.GET.get(PAGE_VAR, "")), columns)
        else:
            self._turn_by_number(self.page_num)

    def _turn_by_number(self, number: int) -> None:
        """Turn a list whose sort has no keys; where its last page is nobody knows."""
        end = number * self.list_per_page
        has_next = self.queryset[end : end + 1].exists()
        self.turns = Turns(
            first=self._url("") if number > 1 else "",
            previous=self._url(str(number - 1)) if number > 1 else "",
            following=self._url(str(number + 1)) if has_next else "",
        )

    def _turn(self, asked: str, columns: Sequence[Column]) -> None:
        way, _, key = asked.partition(":")
        found = self._values(key, columns) if way in {_AFTER, _BEFORE} else None
        is_back = way == _LAST or (way == _BEFORE and found is not None)
        order = [column.turned() for column in columns] if is_back else list(columns)
        rows = self.queryset.order_by(*(column.order for column in order))
        if found is not None:
            rows = rows.filter(beyond(order, found))
        page = list(rows[: self.list_per_page + 1])
        has_more, page = len(page) > self.list_per_page, page[: self.list_per_page]
        self.result_list = page[::-1] if is_back else page
        self.turns = self._turns(
            has_previous=has_more if is_back else found is not None,
            has_next=found is not None if is_back else has_more,
        )

    def _turns(self, *, has_previous: bool, has_next: bool) -> Turns:
        if not self.result_list:
            return Turns(first=self._url("")) if has_previous or has_next else Turns()
        begin, end = self.result_list[0].pk, self.result_list[-1].pk
        return Turns(
            first=self._url("") if has_previous else "",
            previous=self._url(f"{_BEFORE}:{begin}") if has_previous else "",
            following=self._url(f"{_AFTER}:{end}") if has_next else "",
            last=self._url(_LAST) if has_next else "",
        )

    def _url(self, page: str) -> str:
        """Keep filters, search and sort."""
        said = {PAGE_VAR: page} if page else {}
        return str(self.get_query_string(said, remove=[] if page else [PAGE_VAR]))

    def _values(self, key: str, columns: Sequence[Column]) -> tuple[Any, ...] | None:
        """Read what the list is sorted by of the row that the address names."""
        try:
            rows = self.root_queryset.order_by().filter(pk=key)
            found: tuple[Any, ...] | None = rows.values_list(*(one.path for one in columns)).first()
        except (ValueError, ValidationError):
            return None
        return found


def columns_of(model: type[Model], order: Sequence[Any]) -> tuple[Column, ...]:
    """Return the columns of a sort; none, where one of them cannot be compared with."""
    found = []
    for one in order:
        column = _column(one)
        if column is None:
            return ()
        field = _field(model, column.path)
        if field is not None and field.is_relation:  # Sorted by an order of its own.
            return ()
        found.append(replace(column, may_be_empty=field is None or field.null))
    return tuple(found)


def beyond(columns: Sequence[Column], values: Sequence[Any]) -> Q:
    """Match the rows that come after one, by its values.

    The first column is bound once more for itself: an index is read from there, which it is not for
    alternatives.
    """
    after, ties = Q(pk__in=[]), Q()
    for column, value in zip(columns, values, strict=True):
        if (step := _past(column, value)) is not None:
            after |= ties & step
        ties &= _same(column, value)
    return after & _bound(columns[0], values[0]) if len(columns) > 1 else after


def _past(column: Column, value: Any) -> Q | None:
    """Match what comes after a value: what is empty is the largest, as PostgreSQL has it."""
    if column.is_descending:
        is_any = Q(**{f"{column.path}__isnull": False})
        return is_any if value is None else Q(**{f"{column.path}__lt": value})
    if value is None:
        return None
    larger = Q(**{f"{column.path}__gt": value})
    return larger | Q(**{f"{column.path}__isnull": True}) if column.may_be_empty else larger


def _same(column: Column, value: Any) -> Q:
    return Q(**{f"{column.path}__isnull": True} if value is None else {column.path: value})


def _bound(column: Column, value: Any) -> Q:
    if value is None or (column.may_be_empty and not column.is_descending):
        return Q()  # What is empty is beyond, too.
    return Q(**{f"{column.path}__{'lte' if column.is_descending else 'gte'}": value})


def _column(one: Any) -> Column | None:
    if isinstance(one, str) and one != "?":
        return Column(one.lstrip("-"), one.startswith("-"))
    if isinstance(one, OrderBy) and isinstance(one.expression, F):
        path: str = one.expression.name  # type: ignore[attr-defined]
        is_plain = not (one.nulls_first or one.nulls_last)
        return Column(path, one.descending) if is_plain else None
    return None


def _field(model: type[Model], path: str) -> Any:
    """Return the model's own column of a path; None: of a related row, or computed."""
    try:
        return model._meta.pk if path == "pk" else model._meta.get_field(path)
    except FieldDoesNotExist:
        return None
