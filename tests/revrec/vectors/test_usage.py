"""Published usage and credits: earned on its day, at each grant's own cost; billed afterwards."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from billing_project.kernel.period import Period
from credits.drawdown import GrantState, Use, draw_down
from revrec.accrual import DayUse, Price, accruals
from revrec.basis import CostBasis, Movement, releases
from revrec.conditional import became_due, conditional_earned, prepaid_shortfall
from revrec.posting import About, Account, credits_used, overage_invoiced, overage_used
from revrec.schedule import day_of
from revrec.services.months import OpenBooks
from tests.revrec.vectors import VECTORS, minor, minors, moved

USD = About("USD")
NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)


def test_str_11_an_invoice_reclassifies_and_earns_nothing() -> None:
    amount = minor(VECTORS["STR-11"]["inputs"]["invoiced"])

    entry = moved(overage_invoiced(amount, USD))

    # Published: revenue of 60.00 is reversed on invoicing and booked again.
    assert entry == {"1100": amount, "1200": -amount}
    published = VECTORS["STR-11"]["expected"]["April extra"]
    assert -entry["1200"] == minor(published["Cr UnbilledAccountsReceivable"])


def test_lag_02_usage_is_earned_on_its_day() -> None:
    vector = VECTORS["LAG-02"]
    price = Price(Decimal(vector["inputs"]["price"]), "USD")

    [step] = accruals(
        Decimal(0), [DayUse(NOON.date(), {None: Decimal(vector["inputs"]["calls"])})], price
    )

    assert step.service_on == NOON.date()
    assert moved(overage_used(step.amount_minor, USD)) == {
        "1200": minor(vector["expected"]["daily_revenue"]),
        "4020": -minor(vector["expected"]["daily_revenue"]),
    }


def _grant(pk: int, remaining: str, priority: int, expires: datetime | None) -> GrantState:
    return GrantState(
        id=pk, remaining=Decimal(remaining), priority=priority, is_paid=True,
        effective_at=NOON - timedelta(days=2), expires_at=expires,
        created_at=NOON - timedelta(days=2),
    )  # fmt: skip


def test_kng_01_credits_first_and_the_rest_is_invoiced() -> None:
    vector = VECTORS["KNG-01"]
    soon = NOON + timedelta(days=5)
    grants = [  # Balance 40: by priority, then expiry, then age.
        _grant(3, "10", 1, None), _grant(4, "10", 2, None),
        _grant(2, "10", 1, soon), _grant(1, "10", 1, soon),
    ]  # fmt: skip

    result = draw_down(
        Decimal(vector["inputs"]["charge"]),
        grants,
        Use(Period(NOON, NOON + timedelta(hours=1)), None, "used"),
        ("priority", "expiry", "created"),
    )

    assert result.drawn == vector["expected"]["consumed"]
    assert result.overage == vector["expected"]["invoice_remainder"]
    assert [part.grant_id for part in result.parts] == [1, 2, 3, 4]


def test_zuo_01_points_cost_what_was_paid_for_them() -> None:
    inputs, expected = VECTORS["ZUO-01"]["inputs"], VECTORS["ZUO-01"]["expected"]
    basis = CostBasis(minor(inputs["price"]), Decimal(inputs["points"]))
    drawn = Decimal(inputs["usage_hours"]) * inputs["rate"]

    [release] = releases(basis, Decimal(0), 0, [Movement(1, NOON.date(), -drawn)])

    assert drawn == expected["drawdown"]
    assert basis.credits - drawn == expected["balance"]
    assert release.amount_minor == minor(expected["revenue_recomputed"])


def test_own_06_each_grant_earns_at_its_own_price() -> None:
    vector = VECTORS["OWN-06"]
    grants = {name: (Decimal(n), minor(price)) for name, n, price in vector["inputs"]["grants"]}

    drawn = draw_down(
        Decimal(vector["inputs"]["usage"]),
        [_grant(pk, str(n), pk, None) for pk, (n, _) in enumerate(grants.values(), start=1)],
        Use(Period(NOON, NOON + timedelta(hours=1)), None, "used"),
    )
    rows, revenue, left = [], 0, 0
    for part, (name, (count, price)) in zip(drawn.parts, grants.items(), strict=True):
        [release] = releases(
            CostBasis(price, count), Decimal(0), 0, [Movement(1, NOON.date(), -part.credits)]
        )
        rows.append([name, part.credits, release.amount_minor])
        revenue += release.amount_minor
        left += price - release.amount_minor

    assert rows == [[name, used, minor(cost)] for name, used, cost in vector["expected"]["draw"]]
    assert revenue == minor(vector["expected"]["revenue"])
    assert left == minor(vector["expected"]["contract_liability_left"])


def test_own_07_single_credits_round_cumulatively() -> None:
    inputs = VECTORS["OWN-07"]["inputs"]
    basis = CostBasis(minor(inputs["price"]), Decimal(inputs["credits"]))
    uses = [Movement(n, NOON.date() + timedelta(days=n), Decimal(-1)) for n in range(3)]

    steps = releases(basis, Decimal(0), 0, uses)

    # 333.33 -> 333; 666.67 -> 667; 1000.
    expected = VECTORS["OWN-07"]["expected"]["revenue_sequence_minor"]
    assert [step.amount_minor for step in steps] == expected


def test_own_12_a_prepaid_commitment_ends_on_its_price() -> None:
    inputs, expected = VECTORS["OWN-12"]["inputs"], VECTORS["OWN-12"]["expected"]
    commit, usage = Decimal(inputs["commit"]), Decimal(inputs["usage"])
    movements = [
        Movement(1, date(2026, 6, 1), -usage),
        Movement(2, date(2027, 1, 1), usage - commit, ends_grant=True),
    ]

    used, ended = releases(CostBasis(minor(commit), commit), Decimal(0), 0, movements)
    entry = moved(credits_used(used.amount_minor, USD), prepaid_shortfall(ended.amount_minor, USD))

    assert -entry["4010"] == minor(expected["usage_revenue"])
    assert -entry["4040"] == minor(expected["shortfall_revenue_at_term_end"])
    assert entry["2100"] == minor(commit)


def test_own_14_late_usage_goes_to_the_open_month_and_says_when_it_was() -> None:
    inputs, expected = VECTORS["OWN-14"]["inputs"], VECTORS["OWN-14"]["expected"]
    amount, used_on = minor(inputs["amount"]), date.fromisoformat(inputs["event"])
    books = OpenBooks(first_day=date(2026, 2, 1))  # January is closed.

    posted_on = books.effective_day(used_on)

    assert f"{posted_on:%Y-%m}" == expected["posting_period"]
    assert f"{used_on:%Y-%m}" == expected["service_period"]
    assert moved(overage_used(amount, USD)) == {
        "1200": minor(expected["Dr 1200"]), "4020": -minor(expected["Cr 4020"]),
    }  # fmt: skip


def test_own_16_the_zone_of_the_entity_decides_the_month() -> None:
    vector = VECTORS["OWN-16"]
    event = datetime.fromisoformat(vector["inputs"]["event"])

    for zone, month in vector["expected"].items():
        assert f"{day_of(event, zone):%Y-%m}" == month


def test_ifr_39_a_right_that_waits_for_more_is_no_receivable() -> None:
    inputs, expected = VECTORS["IFR-39"]["inputs"], VECTORS["IFR-39"]["expected"]
    first, second = minor(inputs["A"]), minor(inputs["B"])

    on_a = moved(conditional_earned(first, Account.FEE_REVENUE, USD))
    on_b = moved(became_due(first + second, first, Account.FEE_REVENUE, USD))

    assert [on_a["1210"], -on_a["4000"]] == minors(list(expected["on_A"].values()))
    assert [on_b["1100"], -on_b["1210"], -on_b["4000"]] == minors(list(expected["on_B"].values()))
