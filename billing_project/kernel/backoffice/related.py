"""Links from an object to what other apps keep about it, without knowing those apps.

A higher app offers a link to a lower app's model; the lower page shows what was offered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import reverse


@dataclass(frozen=True)
class Link:
    """One way on from a page."""

    title: str
    url: str
    icon: str = "arrow_outward"


_offers: dict[type[Model], list[Callable[[Any], Link | None]]] = {}


def offer(model: type[Model], make: Callable[[Any], Link | None]) -> None:
    """Let the pages of a model show a link; None where there is nothing to show."""
    _offers.setdefault(model, []).append(make)


def offer_list(
    model: type[Model],
    target: type[Model],
    query: Callable[[Any], dict[str, Any]],
    *,
    title: str = "",
    icon: str = "list",
) -> None:
    """Let the pages of a model link to the rows of another that the query picks.

    Args:
        query: From the object to lookups of the target's list ({"customer__id__exact": 7}).
    """
    name = title or str(target._meta.verbose_name_plural)

    def make(obj: Any) -> Link:
        return Link(name[:1].upper() + name[1:], list_url(target, query(obj)), icon)

    offer(model, make)


def list_url(target: type[Model], query: dict[str, Any]) -> str:
    """Return the address of a model's list, narrowed to the lookups."""
    opts = target._meta
    address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return f"{address}?{urlencode(query)}"


def links_of(obj: Model) -> list[Link]:
    """List what was offered for an object, in the order of the house (ground to roof)."""
    made = (make(obj) for make in _offers.get(type(obj), []))
    return [link for link in made if link is not None]
