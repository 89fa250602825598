"""A backfill among those who send, adjust and aggregate at the same moment: counted once."""

from datetime import datetime, timedelta

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import BillingError
from billing_project.kernel.users import worker_user
from metering.models import Backfill, MeterEvent, UsageWindow
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.backfilling import apply_backfill
from tests.invoicing.builders import at_once, refusals
from tests.metering.backfills import a_backfill, approved, upload
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def _findings() -> list[object]:
    known = {"kernel.commits_are_durable"}
    return [f for result in run_checks() for f in result.findings if result.name not in known]


@pytest.mark.parametrize("attempt", range(3))
def test_two_who_apply_and_three_who_change_the_range(at: datetime, attempt: int) -> None:
    for aggregation in ("sum", "max", "last"):
        a_meter(at - 90 * HOUR, aggregation)
    acme = a_customer(at - 90 * HOUR)
    start = at - 5 * HOUR
    times = {f"e{i}": start + i * HOUR / 50 for i in range(200)}
    send(at, *(an_event(name, timestamp=moment) for name, moment in times.items()))
    if attempt:
        aggregate_batches(at=at)
    backfill = a_backfill(acme, start, at, at)
    kept = [an_event(name, timestamp=moment) for name, moment in list(times.items())[:100]]
    added = [an_event(f"n{i}", timestamp=start + i * HOUR / 50) for i in range(50)]
    upload(backfill, at, *kept, *added)
    approved(backfill, at)
    by = worker_user()

    results = at_once(
        lambda: apply_backfill(backfill=backfill, by=by, at=at),
        lambda: apply_backfill(backfill=backfill, by=by, at=at),
        lambda: send(at, an_event("meanwhile", timestamp=start), added[7]),
        lambda: cancel_event(customer=acme, identifier="e3", reason="test", by=by, at=at),
        lambda: aggregate_batches(at=at),
    )

    aggregate_batches(at=at)
    state = Backfill.objects.get().state
    refused: list[BillingError] = refusals(results)
    assert all(error.code == "backfill_state_changed" for error in refused)
    assert (state == "applied") is (not refused)
    assert MeterEvent.objects.count() == (251 if state == "applied" else 202)
    assert UsageWindow.objects.count() > 0
    assert _findings() == []
