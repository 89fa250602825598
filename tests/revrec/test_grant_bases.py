"""Credits that cost nothing get a price: concessions lower revenue, bonuses share a sale."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.keys import create_api_key
from credits.models import CreditGrant, GrantCategory
from credits.services.clawing import claw_back
from credits.services.grants import expire_grant, issue_grant
from invoicing.models import Invoice
from metering.models import Customer
from revrec.models import GrantBasis, PerformanceObligation
from revrec.services.bases import Alone, propose_bonus, propose_concession
from tests.console.backoffice import client_of, person, send
from tests.revrec.builders import (
    LONG_AGO,
    Shop,
    balances,
    close_month,
    entries,
    on,
    recognise,
    signed,
)
from tests.revrec.vectors import VECTORS, minor

pytestmark = pytest.mark.django_db
WORDS = Proposal("basis", "wanted", "done", "test", LONG_AGO)
TENTH = Decimal("0.10")


def _given(shop: Shop, customer: Customer, amount: int, category: str, at: str) -> CreditGrant:
    return issue_grant(
        customer=customer, category=GrantCategory(category), amount=Decimal(amount),
        pricing_unit=shop.unit, reason_code="test", source_key=f"test:{category}:{amount}",
        by=shop.maker, at=on(at), effective_at=on(at),
    )  # fmt: skip


def _concede(shop: Shop, grant: CreditGrant, price: int, is_approved: bool = True) -> GrantBasis:
    basis = propose_concession(
        grant=grant, price_minor=price, evidence="an outage", proposal=WORDS, by=shop.maker,
        at=LONG_AGO,
    )  # fmt: skip
    if is_approved:
        approve(change=basis.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)
    return basis


def _bonus(
    shop: Shop, grant: CreditGrant, purchase: CreditGrant, *, is_approved: bool = True, **how: Alone
) -> GrantBasis:
    basis = propose_bonus(
        grant=grant, purchase=purchase, alone=how.get("alone", Alone(TENTH, Decimal("0.5"))),
        purchase_alone=how.get("sold", Alone(TENTH, Decimal("0.95"))), evidence="last year's use",
        proposal=WORDS, by=shop.maker, at=LONG_AGO,
    )  # fmt: skip
    if is_approved:
        approve(change=basis.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)
    return basis


@pytest.mark.usefixtures("books_hold")
def test_a_concession_in_credits_lowers_revenue_now_and_is_earned_as_it_is_used(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = _given(shop, customer, 1_000, "goodwill", "2026-01-05")
    shop.use(customer, "100", "2026-01-06T09")
    recognise(customer, "2026-01-07")
    assert balances(customer) == {}

    _concede(shop, grant, 5_000)
    recognise(customer, "2026-01-08")

    [promised] = entries(customer, "concession_promised")
    assert (str(promised.effective_on), signed(promised)) == (
        "2026-01-05", {"4900": 5_000, "2100": -5_000},
    )  # fmt: skip
    assert balances(customer) == {"2100": -4_500, "4010": -500, "4900": 5_000}  # 100 of 1,000.
    shop.use(customer, "900", "2026-01-09T09")
    recognise(customer, "2026-01-10")
    assert balances(customer) == {"4010": -5_000, "4900": 5_000}
    assert recognise(customer, "2026-01-10") == 0


@pytest.mark.usefixtures("books_hold")
def test_own_09_a_bonus_takes_its_share_of_the_price_by_what_both_cost_alone(shop: Shop) -> None:
    expected = VECTORS["OWN-09"]["expected"]
    customer = shop.subscriber("2026-01-01")
    shop.pay(shop.pack(customer, "1000", 10_000, "2026-01-02"), "2026-01-02")
    purchase = CreditGrant.objects.get(customer=customer)
    bonus = _given(shop, customer, 200, "promotional", "2026-01-02T01")

    _bonus(shop, bonus, purchase)
    recognise(customer, "2026-01-03")

    prices = {
        promise.grant_id: promise.price_minor for promise in PerformanceObligation.objects.all()
    }
    assert prices == {
        purchase.pk: minor(expected["alloc_paid"]), bonus.pk: minor(expected["alloc_bonus"]),
    }  # fmt: skip
    assert balances(customer) == {"1000": 10_000, "2100": -10_000}
    shop.use(customer, "700", "2026-01-04T09")  # The bonus burns first, then 500 of 1,000.
    recognise(customer, "2026-01-05")
    assert -balances(customer)["4010"] == 952 + 4_524


@pytest.mark.usefixtures("books_hold")
def test_what_was_used_before_a_bonus_had_its_share_is_caught_up(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.grant(customer, "1000", "2026-01-01", price=10_000)
    purchase = CreditGrant.objects.get(customer=customer)
    bonus = _given(shop, customer, 200, "promotional", "2026-01-02")
    shop.use(customer, "700", "2026-01-03T09")
    recognise(customer, "2026-01-04")
    assert balances(customer) == {"1000": 10_000, "2100": -5_000, "4010": -5_000}

    _bonus(shop, bonus, purchase)
    recognise(customer, "2026-01-05")

    # 200 bonus credits at 9.52 and 500 of 1,000 at 90.48.
    assert balances(customer) == {"1000": 10_000, "2100": -4_524, "4010": -5_476}
    shop.use(customer, "500", "2026-01-06T09")
    recognise(customer, "2026-01-07")
    assert balances(customer) == {"1000": 10_000, "4010": -10_000}


@pytest.mark.usefixtures("books_hold")
def test_a_purchase_that_had_ended_gives_its_breakage_up(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    purchase = shop.grant(customer, "1000", "2026-01-01", price=10_000)
    bonus = _given(shop, customer, 200, "promotional", "2026-01-01T01")
    expire_grant(grant=purchase, reason_code="ended", by=shop.maker, at=on("2026-01-03"))
    recognise(customer, "2026-01-04")
    _bonus(shop, bonus, purchase)

    recognise(customer, "2026-01-05")

    assert balances(customer) == {"1000": 10_000, "2100": -952, "4030": -9_048}


def _sold_with_a_bonus(shop: Shop) -> tuple[Invoice, CreditGrant, CreditGrant]:
    """Sell 1,000 credits for 100.00, and give 200 more."""
    customer = shop.subscriber("2026-01-01")
    pack = shop.pack(customer, "1000", 10_000, "2026-01-02")
    shop.pay(pack, "2026-01-02")
    bonus = _given(shop, customer, 200, "promotional", "2026-01-02T01")
    return pack, CreditGrant.objects.get(customer=customer, price_minor__gt=0), bonus


def _take_back(shop: Shop, pack: Invoice, purchase: CreditGrant) -> None:
    claw_back(grant=purchase, reason="refund", reference="r1", by=shop.maker, at=on("2026-01-04"))
    shop.credit(pack, 10_000, "billing_error", "2026-01-04")


@pytest.mark.usefixtures("books_hold")
def test_a_purchase_with_a_bonus_goes_back_whole_and_its_books_go_on(shop: Shop) -> None:
    pack, purchase, bonus = _sold_with_a_bonus(shop)
    _bonus(shop, bonus, purchase)
    recognise(pack.customer, "2026-01-03")
    _take_back(shop, pack, purchase)

    recognise(pack.customer, "2026-01-05")

    # 90.48 were the purchase's own; 9.52 stay promised to who has the bonus.
    assert balances(pack.customer) == {"1000": 10_000, "2100": -952, "2200": -10_000, "4900": 952}
    shop.use(pack.customer, "200", "2026-01-06T09")
    recognise(pack.customer, "2026-01-07")
    assert balances(pack.customer) == {
        "1000": 10_000, "2200": -10_000, "4900": 952, "4010": -952,
    }  # fmt: skip


@pytest.mark.usefixtures("books_hold")
def test_a_purchase_that_went_back_before_the_approval_has_no_share_to_give(shop: Shop) -> None:
    pack, purchase, bonus = _sold_with_a_bonus(shop)
    other = _given(shop, pack.customer, 300, "promotional", "2026-01-02T02")
    recognise(pack.customer, "2026-01-03")
    basis = _bonus(shop, bonus, purchase, is_approved=False)
    with pytest.raises(Conflict, match="with a bonus that waits"):
        _bonus(shop, other, purchase)
    _take_back(shop, pack, purchase)

    approve(change=basis.policy_change, by=shop.approver, reason="ok", at=on("2026-01-05"))
    recognise(pack.customer, "2026-01-06")

    assert balances(pack.customer) == {"1000": 10_000, "2200": -10_000}
    assert not PerformanceObligation.objects.filter(grant=bonus).exists()


def test_an_approved_basis_is_in_the_books_before_its_month_closes(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = _given(shop, customer, 1_000, "goodwill", "2026-01-05")
    recognise(customer, "2026-01-06")
    _concede(shop, grant, 5_000)

    close_month("2026-01-01", "2026-02-02")

    assert balances(customer) == {"2100": -5_000, "4900": 5_000}


def test_what_is_not_approved_moves_nothing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = _given(shop, customer, 1_000, "goodwill", "2026-01-05")
    _concede(shop, grant, 5_000, is_approved=False)

    recognise(customer, "2026-01-06")

    assert balances(customer) == {}
    with pytest.raises(Conflict, match="waits for approval"):
        _concede(shop, grant, 6_000)


def test_only_goodwill_concedes_and_only_a_purchase_has_a_bonus(shop: Shop) -> None:
    customer, other = shop.subscriber("2026-01-01"), shop.subscriber("2026-01-01")
    gift = _given(shop, customer, 200, "promotional", "2026-01-05")
    goodwill = _given(shop, customer, 300, "goodwill", "2026-01-05")
    theirs = shop.grant(other, "10", "2026-01-01", price=100)
    mine = shop.grant(customer, "10", "2026-01-01", price=100)

    with pytest.raises(Invalid, match="only goodwill"):
        _concede(shop, gift, 1)
    with pytest.raises(Invalid, match="more than nothing"):
        _concede(shop, goodwill, 0)
    for grant, purchase in ((goodwill, mine), (gift, theirs), (gift, goodwill)):
        with pytest.raises(Invalid):
            _bonus(shop, grant, purchase)
    for bad in (Alone(Decimal(0)), Alone(TENTH, Decimal("1.1")), Alone(Decimal("NaN"))):
        with pytest.raises(Invalid):
            _bonus(shop, gift, mine, alone=bad)


def test_finance_proposes_bases_in_the_back_office(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    goodwill = _given(shop, customer, 300, "goodwill", "2026-01-05")
    gift = _given(shop, customer, 200, "promotional", "2026-01-05")
    sold = shop.grant(customer, "1000", "2026-01-01", price=10_000)
    client = client_of(person("finance_maker"))
    concede, share = (reverse(f"admin:revrec_grantbasis_{name}") for name in ("concede", "share"))

    wrong = send(client, concede, grant=999_999, concession="5", evidence="x")
    send(client, concede, grant=goodwill.pk, concession="5.00", evidence="an outage")
    send(
        client, share, grant=gift.pk, purchase=sold.pk, ssp="0.10", likelihood="0.5",
        purchase_ssp="0.10", purchase_likelihood="0.95", evidence="last year",
    )  # fmt: skip

    assert wrong.status_code == 422
    made = dict(GrantBasis.objects.values_list("cause", "price_minor"))
    assert made == {"concession": 500, "bonus": 952}


def test_a_basis_that_is_not_in_the_books_or_not_as_approved_is_found(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    _concede(shop, _given(shop, customer, 300, "goodwill", "2026-01-05"), 500)

    assert "revrec.bases_tie" in {result.name for result in run_checks() if result.findings}


def _api(settings: Any) -> Client:
    settings.BILLING_CLOCK = on("2026-01-20").isoformat()
    _, token = create_api_key(name="t", scopes=["admin"], at=on("2026-01-20"))
    return Client(headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k"})


def _sent(api: Client, body: dict[str, object], key: str = "k") -> Any:
    return api.post(
        "/v1/grant_bases", {"evidence": "an incident", **body}, content_type="application/json",
        headers={"Idempotency-Key": key},
    )  # fmt: skip


def test_a_basis_is_proposed_over_http_and_counts_once_finance_approved_it(
    shop: Shop, settings: Any
) -> None:
    api, customer = _api(settings), shop.subscriber("2026-01-01")
    grant = _given(shop, customer, 1_000, "goodwill", "2026-01-10")
    said: dict[str, object] = {"grant": grant.pk, "cause": "concession",
            "concession": {"amount": "50.00", "currency": "USD"}}  # fmt: skip

    made = _sent(api, said)

    assert made.status_code == 201
    assert (made.json()["price"], made.json()["status"]) == ("50.00", "submitted")
    assert _sent(api, said).json() == made.json()  # The same call twice is one basis.
    assert _sent(api, said, "other").status_code == 409
    assert api.get("/v1/grant_bases").json()["data"] == [made.json()]
    change = GrantBasis.objects.get().policy_change
    approve(change=change, by=shop.approver, reason="so", at=on("2026-01-20"))
    recognise(customer, "2026-01-21")
    assert balances(customer) == {"2100": -5_000, "4900": 5_000}


def test_a_bonus_over_http_takes_its_share_of_the_purchase(shop: Shop, settings: Any) -> None:
    api, customer = _api(settings), shop.subscriber("2026-01-01")
    purchase = shop.grant(customer, "1000", "2026-01-02", price=10_000)
    bonus = _given(shop, customer, 200, "promotional", "2026-01-02")

    made = _sent(
        api,
        {
            "grant": bonus.pk, "cause": "bonus", "purchase": purchase.pk,
            "alone": {"ssp": "0.10", "likelihood": "0.5"},
            "purchase_alone": {"ssp": "0.10", "likelihood": "0.95"},
        },
    )  # fmt: skip

    assert made.json()["price"] == "9.52"  # 100.00 x 10 / 105, as docs/accounting.md works out.


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"grant": 999_999_999}, "grant"),
        ({"grant": "seven"}, "grant"),
        ({"concession": {"amount": "1", "currency": "EUR"}}, "concession.currency"),
        ({"concession": {"amount": "0", "currency": "USD"}}, "price_minor"),
        ({"cause": "bonus"}, "purchase"),
        ({"cause": "gift"}, "cause"),
        ({"evidence": " "}, "evidence"),
    ],
)
def test_a_basis_that_says_something_impossible_is_refused_at_its_field(
    shop: Shop, settings: Any, change: dict[str, object], field: str
) -> None:
    api, customer = _api(settings), shop.subscriber("2026-01-01")
    grant = _given(shop, customer, 1_000, "goodwill", "2026-01-10")
    said: dict[str, object] = {"grant": grant.pk, "cause": "concession",
            "concession": {"amount": "50.00", "currency": "USD"}, **change}  # fmt: skip

    refused = _sent(api, said)

    assert refused.status_code == 422
    assert field in str(refused.json()["errors"])
    assert not GrantBasis.objects.exists()
