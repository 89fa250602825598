"""A second product beside the trace: embeddings at graduated rates, and a model without a rate.

The requests are made up, and few; the report tells them apart from the trace's. Whoever uses them
has credits that only embeddings may burn, before all others, so that no invoice changes.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant, GrantCategory, PricingModel, PricingUnit, RatedUsage
from credits.selectors import unrated_windows
from credits.services.grants import issue_grant
from credits.services.rates import RateInput
from metering.models import Aggregation, Customer
from metering.services.meters import create_meter

METER, EVENT_NAME, CUSTOMER = "embedding_tokens", "embedding_request", "cust-19"
PRICED, UNPRICED = "embed-large", "embed-next"  # Nobody agreed on a rate for the second one yet.
# 20 requests of 200,000 tokens: the first 1,000,000 cost 16 credits, the other 3,000,000 cost 24.
TIERS = (("1000000", "0.000016"), (None, "0.000008"))
TOKENS, PRICED_COUNT, UNPRICED_COUNT = 200_000, 20, 3
CREDITS = Decimal(100)


def make_embeddings_meter(*, by: User, at: datetime) -> None:
    """Count the tokens of embedding requests by model."""
    create_meter(
        code=METER, name="Embedding tokens", event_name=EVENT_NAME, aggregation=Aggregation.SUM,
        value_property=METER, dimensions=("model",), unit="token", by=by, at=at,
    )  # fmt: skip


def embeddings_rate() -> RateInput:
    """Price one of the two models, cheaper from the second million on."""
    tiers = [{"up_to": end, "unit_price": price} for end, price in TIERS]
    return RateInput(METER, {"model": PRICED}, model=PricingModel.GRADUATED, terms={"tiers": tiers})


def give_embeddings_credits(
    *, pricing_unit: PricingUnit, effective_at: datetime, by: User, at: datetime
) -> CreditGrant:
    """Give credits that only embeddings may burn."""
    return issue_grant(
        customer=Customer.objects.get(external_id=CUSTOMER), category=GrantCategory.PROMOTIONAL,
        amount=CREDITS, pricing_unit=pricing_unit, reason_code="embeddings_trial",
        source_key="demo:embeddings", meter_codes=[METER], priority=0, effective_at=effective_at,
        by=by, at=at,
    )  # fmt: skip


def embedding_events(period: Period) -> Iterator[dict[str, object]]:
    """Yield one request a day of each model, as long as there are any."""
    for model, count in ((PRICED, PRICED_COUNT), (UNPRICED, UNPRICED_COUNT)):
        for day in range(1, count + 1):
            yield {
                "event_name": EVENT_NAME,
                "identifier": f"{model}-{day}",
                "customer": CUSTOMER,
                "timestamp": (period.start + timedelta(days=day)).isoformat(),
                "properties": {"model": model, METER: str(TOKENS)},
            }


def embeddings_report() -> dict[str, str]:
    """Say what embeddings came to, and what waits for a rate."""
    rated = RatedUsage.objects.filter(rate__meter_code=METER)
    sums = rated.aggregate(tokens=Sum("quantity"), charge=Sum("charge"))
    waiting = unrated_windows().filter(meter__code=METER).aggregate(tokens=Sum("quantity"))
    return {
        "rated_tokens": plain(sums["tokens"] or Decimal(0)),
        "credits": plain(sums["charge"] or Decimal(0)),
        "tokens_without_a_rate": plain(waiting["tokens"] or Decimal(0)),
    }
