"""The example that `docs/credits.md` writes out is what the product does."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings

from billing_project.kernel.quantity import plain
from credits.models import LedgerTransaction, RatedUsage
from metering.services.adjust import amend_event, cancel_event
from tests.credits.builders import DAY_10, NOVEMBER, Shop

pytestmark = pytest.mark.django_db
_ROW = re.compile(r"^\| ([A-E]) \| (\w+) \| (\w+) \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE)


def _documented() -> list[tuple[str, ...]]:
    text = (Path(settings.BASE_DIR) / "docs/credits.md").read_text()
    return _ROW.findall(text)


def _live(shop: Shop) -> dict[str, int]:
    """Do what the example tells; return how many ledger transactions there are after each step."""
    counts = {}
    shop.grant("100", category="included", expires_at=NOVEMBER.end)
    shop.grant("1000", category="paid", price_minor=9_000)
    counts["A"] = LedgerTransaction.objects.count()
    corrected = shop.use(DAY_10, input="240")
    shop.rate()
    counts["B"] = LedgerTransaction.objects.count()
    shop.use(DAY_10.replace(hour=10), output="500")
    shop.rate()
    assert RatedUsage.objects.latest("pk").overage == 20
    counts["C"] = LedgerTransaction.objects.count()
    amend_event(
        customer=shop.customer, identifier=corrected, reason="test",
        properties={"model": "small", "input": "180"}, by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.rate()
    counts["D"] = LedgerTransaction.objects.count()
    shop.at = datetime(2026, 12, 3, tzinfo=UTC)
    cancel_event(
        customer=shop.customer, identifier=corrected, reason="test", by=shop.maker, at=shop.at
    )
    shop.rate()
    counts["E"] = LedgerTransaction.objects.count()
    return counts


def test_the_documented_ledger_is_the_ledger(shop: Shop) -> None:
    counts = _live(shop)

    names = ("included", "pack", "linked")
    left: dict[str, Decimal] = dict.fromkeys(names, Decimal(0))
    found = []
    for index, entry in enumerate(LedgerTransaction.objects.order_by("position")):
        step = next(step for step, count in counts.items() if index < count)
        name = names[
            entry.grant_id - min(LedgerTransaction.objects.values_list("grant", flat=True))
        ]
        left[name] += entry.credits
        figures = (entry.credits, entry.cost_unrounded, left[name])
        found.append((step, entry.kind, name, *(plain(figure) for figure in figures)))
    assert found == _documented()
    assert sum(RatedUsage.objects.values_list("overage", flat=True)) == 0
