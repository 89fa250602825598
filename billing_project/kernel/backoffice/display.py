"""Columns and read-only fields as people read them: money, quantities, links, badges.

Each function makes a display callable for `list_display`, `fields` and `fieldsets`. None of them
asks the database: what they read must be on the row or in `list_select_related`.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing_project.kernel.backoffice.moments import EMPTY as EMPTY
from billing_project.kernel.backoffice.moments import moment_html as moment_html
from billing_project.kernel.backoffice.moments import moment_text as moment_text
from billing_project.kernel.money import Money, exponent
from billing_project.kernel.period import days_text as days_text
from billing_project.kernel.quantity import plain

Display = Callable[[Any], str]

_BADGE = (
    "inline-block font-semibold rounded-default text-[11px] uppercase whitespace-nowrap"
    " h-6 leading-6 px-2 "
)
_TONES = {
    "good": "bg-green-100 text-green-700 dark:bg-green-500/20 dark:text-green-400",
    "bad": "bg-red-100 text-red-700 dark:bg-red-500/20 dark:text-red-400",
    "wait": "bg-orange-100 text-orange-700 dark:bg-orange-500/20 dark:text-orange-400",
    "info": "bg-blue-100 text-blue-700 dark:bg-blue-500/20 dark:text-blue-400",
    "": "bg-base-500/8 text-base-700 dark:bg-base-500/20 dark:text-base-200",
}


def money_text(amount_minor: int, currency: str) -> str:
    """Write minor units with separators and all decimals ("1,234.50 USD")."""
    return f"{Money(amount_minor, currency).decimal:,f} {currency}"


def unrounded_text(amount: Decimal, currency: str) -> str:
    """Write an unrounded amount exactly, with at least the currency's decimals ("90.00 USD")."""
    whole, _, fraction = number_text(amount).partition(".")
    decimals = fraction.ljust(exponent(currency), "0")
    return f"{whole}.{decimals} {currency}" if decimals else f"{whole} {currency}"


def number_text(value: Decimal | int) -> str:
    """Write an exact number with separators and without trailing zeros ("1,200.5")."""
    text = plain(Decimal(value))
    whole, dot, fraction = text.lstrip("-").partition(".")
    return f"{'-' * text.startswith('-')}{int(whole):,}{dot}{fraction}"


def sentence_text(choice: str) -> str:
    """Write a choice as people do ("missing_value" is "Missing value")."""
    return choice.replace("_", " ").capitalize()


def object_url(obj: Model) -> str:
    """Return the address of an object's own page."""
    opts = obj._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[obj.pk])


def object_link(obj: Model | None, text: str = "") -> str:
    """Link to an object's own page, under its name."""
    if obj is None:
        return EMPTY
    return format_html('<a href="{}" class="text-link">{}</a>', object_url(obj), text or str(obj))


def badge_html(text: str, tone: str = "") -> SafeString:
    """Write a word as a coloured badge; tones: good, bad, wait, info or none."""
    return format_html('<span class="{}">{}</span>', _BADGE + _TONES[tone], text)


def progress_html(percent: int) -> SafeString:
    """Draw how much of something long is done, with the figure beside it."""
    return format_html(
        '<span class="bo-figure"><progress class="bo-progress" max="100" value="{}">'
        "{}%</progress> {}%</span>", percent, percent, percent,
    )  # fmt: skip


def money(field: str, title: str = "", *, currency: str = "currency") -> Display:
    """Show a column of minor units as money.

    Args:
        currency: Attribute path of the currency ("invoice.currency").
    """
    amount, unit = attrgetter(field), attrgetter(currency)

    def show(row: Any) -> str:
        return _figure(money_text(amount(row), unit(row)))

    return _named(show, field, title or field.removesuffix("_minor"), order=field)


def unrounded(field: str, title: str = "", *, currency: str = "currency") -> Display:
    """Show a column of unrounded major units as money."""
    amount, unit = attrgetter(field), attrgetter(currency)

    def show(row: Any) -> str:
        return _figure(unrounded_text(amount(row), unit(row)))

    return _named(show, field, title or field.removesuffix("_unrounded"), order=field)


def number(field: str, title: str = "", *, unit: str = "") -> Display:
    """Show a decimal exactly, with the unit that an attribute path names."""
    value = attrgetter(field)
    of = attrgetter(unit) if unit else None

    def show(row: Any) -> str:
        if value(row) is None:
            return EMPTY
        return _figure(number_text(value(row)) + (f" {of(row)}" if of else ""))

    return _named(show, field, title or field.removesuffix("_unrounded"), order=field)


def link(field: str, title: str = "", *, text: str = "") -> Display:
    """Show a related object as a link to its page.

    Args:
        text: Attribute path of what to show in place of its name ("customer.name").
    """
    related = attrgetter(field)
    of = attrgetter(text) if text else str

    def show(row: Any) -> str:
        try:
            obj = related(row)
        except AttributeError:  # A nullable step on the way.
            obj = None
        return EMPTY if obj is None else object_link(obj, str(of(row) if text else obj))

    show.leads_elsewhere = True  # type: ignore[attr-defined]
    return _named(show, field.replace(".", "_"), title or field.split(".")[-1])


def badge(field: str, tones: Mapping[str, str], title: str = "") -> Display:
    """Show a choice as a coloured badge."""
    choice = attrgetter(field)

    def show(row: Any) -> str:
        value = str(choice(row))
        return badge_html(value.replace("_", " "), tones.get(value, "")) if value else EMPTY

    return _named(show, field, title or field, order=field)


def sentence(field: str, title: str = "") -> Display:
    """Show a choice as people write it."""

    def show(row: Any) -> str:
        return sentence_text(str(getattr(row, field)))

    return _named(show, field, title or field, order=field)


def moment(field: str, title: str = "") -> Display:
    """Show an instant to the second, in the viewer's time zone, with UTC on hover."""
    instant = attrgetter(field)

    def show(row: Any) -> str:
        return moment_html(instant(row))

    return _named(show, field, title or field.removesuffix("_at"), order=field)


def pairs(field: str, title: str = "") -> Display:
    """Show a JSON object of few keys as "key value" pairs ("model gpt-5.4")."""

    def show(row: Any) -> str:
        value = getattr(row, field)
        if isinstance(value, dict):
            value = [f"{key} {part}" for key, part in value.items()]
        return ", ".join(str(part) for part in value or []) or EMPTY

    return _named(show, field, title or field)


def document(field: str, title: str = "") -> Display:
    """Show JSON, or a text that holds JSON, indented."""

    def show(row: Any) -> str:
        value = getattr(row, field)
        content = json.loads(value) if isinstance(value, str) and value else value
        text = json.dumps(content, indent=2, ensure_ascii=False, default=_plain)
        return format_html('<pre class="bo-pre">{}</pre>', text)

    return _named(show, field, title or field)


def _plain(value: object) -> int | str:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return str(value)


def _figure(text: str) -> str:
    return format_html('<span class="bo-figure">{}</span>', text)


def _named(show: Display, name: str, title: str, order: str = "") -> Display:
    show.__name__ = name.replace(".", "_")
    show.short_description = title.replace("_", " ")  # type: ignore[attr-defined]
    if order:
        show.admin_order_field = order.replace(".", "__")  # type: ignore[attr-defined]
    return show
