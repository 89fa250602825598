"""What product does to rates: seen first, confirmed, then it waits for finance."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.quantity import plain
from credits.models import RateCardVersion, RatePin
from tests.console.backoffice import action_url, client_of, send, told
from tests.credits.builders import NOVEMBER, Shop, rate

pytestmark = pytest.mark.django_db
WORDS = {
    "title": "Cheaper input", "product_requirement": "Win long prompts",
    "engineering_note": "Rates only", "reason_code": "price",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


def ask(user: User, shop: Shop, action: str, **fields: object) -> Any:
    return send(client_of(user), action_url(shop.card, action), **WORDS, **fields)


def changes() -> list[str]:
    return list(PolicyChange.objects.order_by("pk").values_list("subject", flat=True))


def test_the_editor_starts_from_the_rates_in_force(shop: Shop, product: User) -> None:
    page = client_of(product).get(action_url(shop.card, "propose_rates"))

    lines = page.context["form"]["rates"].value().splitlines()
    assert lines[1:] == ["input,,per_unit,0.5,,,,,,", "output,,per_unit,2,,,,,,"]


def test_a_version_is_seen_first_then_proposed(shop: Shop, product: User) -> None:
    shop.use(input="10")
    shop.rate()
    before = changes()
    sheet = "input,,per_unit,0.4\noutput,,per_unit,2"

    seen = ask(product, shop, "propose_rates", rates=sheet)
    after_seen = changes()
    done = ask(product, shop, "propose_rates", rates=sheet, confirmed="on")

    assert seen.status_code == 422
    form = seen.context["form"]
    (row,) = form.effect.rows
    assert (row.before, row.after, row.difference) == (5, 4, -1)
    assert "preview: nothing is proposed yet" in form.preview
    assert form.errors == {}
    text = seen.content.decode()
    assert "Nothing was done yet" not in text
    assert "<strong>1</strong> lower" in text
    assert text.index("Effect on last periods") < text.index('name="title"')
    assert after_seen == before
    assert told(done).startswith("success: Proposed")
    version = RateCardVersion.objects.order_by("pk").last()
    assert version is not None
    assert version.policy_change.proposed_by == product
    prices = [plain(one.unit_price) for one in version.rates.order_by("meter_code")]
    assert prices == ["0.4", "2"]


def test_who_stays_is_pinned_with_the_version(shop: Shop, product: User) -> None:
    ask(
        product, shop, "propose_rates", rates="input,,per_unit,0.4", stays="acme", confirmed="on"
    )  # fmt: skip

    assert RatePin.objects.get().customer == shop.customer


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        ("input,,per_unit,0.4\nnothing,,per_unit,1", "line 2, meter_code: no meter"),
        ("input,,per_unit,-1", "line 1, unit_price"),
        ("input,,package,10", "10 per 1000"),
        ("input,colour=red,per_unit,1", "line 1, dimensions.colour: meter input has no dimension"),
        ("input,,graduated,,1000: 0.5", "line 1, terms.tiers[0].up_to"),
    ],
)
def test_the_line_and_field_at_fault_are_named(
    shop: Shop, product: User, sheet: str, words: str
) -> None:
    before = changes()

    response = ask(product, shop, "propose_rates", rates=sheet, confirmed="on")

    assert response.status_code == 422
    assert words in response.context["form"].errors["rates"][0]
    assert changes() == before


def test_an_old_version_comes_back_as_a_new_one(shop: Shop, product: User) -> None:
    shop.version([rate("input", "9")], NOVEMBER.start + timedelta(days=1))

    done = ask(product, shop, "roll_back", to_number=1, confirmed="on")

    assert told(done).startswith("success: Proposed")
    newest = RateCardVersion.objects.order_by("pk").last()
    assert newest is not None
    assert newest.number == 3
    assert newest.rates.count() == 2


def test_a_customer_gets_rates_of_their_own_for_a_time(shop: Shop, product: User) -> None:
    done = ask(
        product, shop, "override_rates", customer="acme", rates="input,,per_unit,0.1",
        expires_at_0="2027-01-01", expires_at_1="00:00:00", confirmed="on",
    )  # fmt: skip

    assert told(done).startswith("success: Proposed")
    change = PolicyChange.objects.order_by("pk").last()
    assert change is not None
    assert (change.kind, change.expires_at.year) == ("rate_override", 2027)  # type: ignore[union-attr]


def test_customers_move_together_and_strangers_are_named(shop: Shop, product: User) -> None:
    unknown = ask(product, shop, "move_customers", version=1, customers="acme, nobody")
    done = ask(product, shop, "move_customers", version=1, customers="acme", confirmed="on")

    assert "nobody" in unknown.context["form"].errors["customers"][0]
    assert told(done).startswith("success: Proposed")
    pin = RatePin.objects.get()
    assert (pin.customer, pin.version and pin.version.number) == (shop.customer, 1)


def faults_of(response: Any) -> list[tuple[int, str, str]]:
    return [(one.line, one.column, one.message) for one in response.context["form"].faults]


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ("nothing,,per_unit,1", "meter", "no meter in force"),
        ("input,colour=red,per_unit,1", "dimensions", "no dimension colour"),
        ("input,model,per_unit,1", "dimensions", "written like model="),
        ("input,,haggling,1", "model", "no pricing model"),
        ("input,,per_unit,-1", "price", "0 or more"),
        ("input,,per_unit,x", "price", "no decimal number"),
        ("input,,package,10", "price", "10 per 1000"),
        ("input,,package,10 per 0", "price", "more than 0"),
        ("input,,flat_fee,x", "price", "no decimal number"),
        ("input,,graduated,,1000: 0.5", "tiers", "the last tier is open"),
        ("input,,graduated,,1000", "tiers", "written like 1000: 0.5"),
        ("input,,per_unit,1,,-5", "included", "more than 0"),
        ("input,,per_unit,1,,,9,3", "minimum", "not above the maximum"),
        ("input,,per_unit,1,,,,,planet", "pools", "workspace or account"),
    ],
)
def test_each_fault_stands_beside_its_row_and_cell(
    shop: Shop, product: User, line: str, column: str, words: str
) -> None:
    response = ask(product, shop, "propose_rates", rates=f"output,,per_unit,2\n{line}")

    [(number, name, message)] = faults_of(response)
    assert (number, name) == (2, column)
    assert words in message
    assert f'"column": "{column}"' in response.content.decode()


def test_all_wrong_rows_are_told_at_once(shop: Shop, product: User) -> None:
    sheet = "input,,per_unit,-1\noutput,,per_unit,2\nnothing,,per_unit,1\ninput,a=b,per_unit,1"

    response = ask(product, shop, "propose_rates", rates=sheet, confirmed="on")

    assert sorted(fault[:2] for fault in faults_of(response)) == [
        (1, "price"), (3, "meter"), (4, "dimensions"),
    ]  # fmt: skip
    assert response.context["form"]["rates"].value() == sheet


def upload(user: User, shop: Shop, content: bytes, **fields: str) -> Any:
    client, url = client_of(user), action_url(shop.card, "propose_rates")
    form = client.get(url).context["form"]
    begins = form["effective_at"].value()
    said = {
        **WORDS, "nonce": form["nonce"].value(), "rates": form["rates"].value(),
        "effective_at_0": f"{begins:%Y-%m-%d}", "effective_at_1": f"{begins:%H:%M:%S}", **fields,
        "rates_file": SimpleUploadedFile("rates.csv", content, "text/csv"),
    }  # fmt: skip
    return client.post(url, said)


def test_an_uploaded_file_takes_the_place_of_the_rates_and_is_seen_first(
    shop: Shop, product: User
) -> None:
    before = changes()
    file = "\ufeffmeter,dimensions,model,price\r\ninput,,per_unit,0.4\r\n".encode()

    seen = upload(product, shop, file, confirmed="on")

    form = seen.context["form"]
    assert seen.status_code == 422
    assert form.errors == {}
    assert [one.content["unit_price"] for one in form.sheet] == ["0.4"]
    assert "input,,per_unit,0.4" in form["rates"].value()
    assert form.preview
    assert changes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe\x00", "no text in UTF-8"), (b"x" * (1024 * 1024 + 1), "at most 1 MiB")],
)
def test_a_file_that_cannot_be_read_leaves_the_rates(
    shop: Shop, product: User, content: bytes, words: str
) -> None:
    response = upload(product, shop, content)

    form = response.context["form"]
    assert words in form.errors["rates_file"][0]
    assert "input,,per_unit,0.5" in form["rates"].value()


def test_a_double_click_after_the_first_proposal_is_refused_with_its_words(
    shop: Shop, product: User
) -> None:
    sheet = "input,,per_unit,0.4"
    ask(product, shop, "propose_rates", rates=sheet, confirmed="on")
    count = len(changes())

    again = ask(product, shop, "propose_rates", rates=sheet, confirmed="on")

    assert "begins at the same instant" in again.context["form"].errors["effective_at"][0]
    assert len(changes()) == count
