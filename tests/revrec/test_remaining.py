"""What is promised and still to be earned: commitments, and what a policy leaves out."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.errors import Invalid
from credits.services.terms import TermsInput, issue_under_terms, propose_grant_terms
from invoicing.items import Item
from revrec.breakage import Method
from revrec.disclosures import Exemptions, Framework, is_short, not_invoiced
from revrec.models import DisclosurePolicy
from revrec.reporting import Table
from revrec.selectors.disclosures import exemptions_of
from revrec.selectors.tables import REPORTS, drill_total
from revrec.services.disclosures import propose_disclosure
from revrec.services.estimates import BreakageTerms, propose_breakage
from revrec.services.months import ensure_period
from tests.revrec.builders import LONG_AGO, Shop, balances, close_month, on, recognise

WORDS = Proposal("policy", "wanted", "done", "test", LONG_AGO)
COMMIT = Item("commit", "minimum", "Minimum", 240_000, periods=24, kinds=("overage",))


def test_a_year_is_short_and_a_day_more_is_not() -> None:
    assert is_short(date(2026, 1, 31), date(2027, 1, 31))
    assert not is_short(date(2026, 1, 31), date(2027, 2, 1))
    assert not is_short(date(2026, 1, 31), None)
    assert is_short(date(2024, 2, 29), date(2025, 2, 28))


def test_what_is_earned_beyond_a_commitment_leaves_nothing_of_it() -> None:
    assert not_invoiced(1_000, 400) == 600
    assert not_invoiced(1_000, 1_400) == 0


def test_the_notes_name_the_paragraphs_of_their_standard() -> None:
    assert Exemptions().paragraphs() == []
    ifrs = " ".join(Exemptions(Framework.IFRS, True, True).paragraphs())
    assert "IFRS 15.121(a)" in ifrs
    assert "IFRS 15.121(b)" in ifrs
    us = " ".join(Exemptions(Framework.US_GAAP, True, True, True).paragraphs())
    assert [name in us for name in ("50-14(a)", "50-14(b)", "50-14A")] == [True] * 3


def _report(month: date) -> Table:
    return REPORTS["rpo"].build(ensure_period(month))


def _bands(table: Table) -> dict[str, list[int]]:
    return {
        row.labels["stream"]: [figure.amount_minor for figure in row.figures.values()]
        for row in table.rows
    }


def _decide(shop: Shop, exemptions: Exemptions) -> None:
    policy = propose_disclosure(exemptions=exemptions, proposal=WORDS, by=shop.maker, at=LONG_AGO)
    approve(change=policy.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)


@pytest.mark.django_db
def test_own_18_a_commitment_counts_for_what_is_neither_earned_nor_invoiced(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", items=(COMMIT,))
    shop.grant(customer, "100", "2026-01-01", price=10_000)
    shop.use(customer, "100", "2026-01-02T09")
    shop.use(customer, "4000", "2026-01-03T09")  # 4,000 x 0.01 = 40.00 of 2,400.00.
    recognise(customer, "2026-02-01")

    found = _bands(_report(date(2026, 1, 1)))

    # 2,360.00 over the 699 days from 1 February 2026 to 31 December 2027: 365 of them in 12 months.
    assert found["Commitments not invoiced"] == [123_233, 112_767, 0, 236_000]
    assert balances(customer)["1200"] == 4_000


@pytest.mark.django_db
def test_a_month_s_commitment_that_ended_with_it_leaves_nothing(shop: Shop) -> None:
    monthly = Item("commit", "minimum", "Minimum", 5_000, kinds=("overage",))
    customer = shop.subscriber("2026-01-01", items=(monthly,))
    shop.use(customer, "100", "2026-01-03T09")
    recognise(customer, "2026-02-01")

    assert "Commitments not invoiced" not in _bands(_report(date(2026, 1, 1)))


@pytest.mark.django_db
def test_promises_of_a_year_are_left_out_where_the_policy_says_so(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90, items=(COMMIT,))
    setup = Item("one_off", "setup", "Setup", 72_000, periods=24)
    long = shop.subscriber("2026-01-01", items=(setup,))
    shop.grant(customer, "100", "2026-01-01", price=1_000)  # Never expires: it was made for longer.
    for one in (customer, long):
        recognise(one, "2026-02-01")
    whole = _bands(_report(date(2026, 1, 1)))

    _decide(shop, Exemptions(Framework.IFRS, short=True, as_invoiced=True))
    table = _report(date(2026, 1, 1))
    left = _bands(table)

    assert whole["Base fees"][-1] - left["Base fees"][-1] == 5_900  # 59 of 90 days.
    assert left["Base fees"][-1] == 68_942  # 720.00 less 31 of 730 days.
    assert left["Prepaid credits"][-1] == 1_000
    assert left["Commitments not invoiced"] == whole["Commitments not invoiced"]
    assert any("IFRS 15.121(a)" in note for note in table.notes)
    assert table.notes[-1] == "Left out so: 59.00 USD."
    for row in table.rows:
        drill = row.figures["total"].drill
        assert drill is None or drill_total(drill) == row.figures["total"].amount_minor


@pytest.mark.django_db
def test_a_closed_month_keeps_the_exemptions_that_it_was_closed_with(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    recognise(customer, "2026-02-01")
    close_month("2026-01-01", "2026-02-02")
    policy = propose_disclosure(
        exemptions=Exemptions(short=True), proposal=WORDS, by=shop.maker, at=on("2026-02-03")
    )
    approve(change=policy.policy_change, by=shop.approver, reason="so", at=on("2026-02-03"))

    assert _bands(_report(date(2026, 1, 1)))["Base fees"][-1] == 5_900


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("begins", "expires", "is_short_out"),
    [("2026-01-31", None, True), ("2026-02-01", None, False), ("2026-01-01", "2026-02-01", True)],
)
def test_a_month_follows_the_policy_of_its_last_instant_not_of_the_next_first(
    shop: Shop, begins: str, expires: str | None, is_short_out: bool
) -> None:
    proposal = replace(WORDS, effective_at=on(begins), expires_at=on(expires) if expires else None)
    policy = propose_disclosure(
        exemptions=Exemptions(short=True), proposal=proposal, by=shop.maker, at=LONG_AGO
    )
    approve(change=policy.policy_change, by=shop.approver, reason="so", at=LONG_AGO)

    assert exemptions_of(ensure_period(date(2026, 1, 1))).short is is_short_out


@pytest.mark.django_db
def test_only_us_gaap_leaves_usage_out(shop: Shop) -> None:
    with pytest.raises(Invalid, match="only US GAAP"):
        propose_disclosure(
            exemptions=Exemptions(usage=True), proposal=WORDS, by=shop.maker, at=LONG_AGO
        )
    change = draft(
        kind="disclosure_policy", content=example_of("disclosure_policy"), proposal=WORDS,
        by=shop.maker, at=LONG_AGO,
    )  # fmt: skip
    submit(change=change, by=shop.maker, at=LONG_AGO)
    assert DisclosurePolicy.objects.get().framework == "us_gaap"


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_credits_that_may_be_given_back_are_no_breakage(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    terms = propose_grant_terms(
        code="refundable", by=shop.maker, at=LONG_AGO, proposal=WORDS, terms=TermsInput("paid")
    )
    approve(change=terms.policy_change, by=shop.approver, reason="so", at=LONG_AGO)
    issue_under_terms(
        terms=terms, customer=customer, amount=Decimal(1_000), pricing_unit=shop.unit,
        reason_code="test", source_key="test:refundable", by=shop.maker, at=on("2026-01-01"),
        effective_at=on("2026-01-01"), price_minor=10_000,
    )  # fmt: skip
    shop.grant(customer, "1000", "2026-01-01", price=10_000)
    shop.use(customer, "1000", "2026-01-02T09")  # The refundable ones, which came first.
    shop.use(customer, "400", "2026-01-02T10")

    def estimate(refundable: tuple[str, ...]) -> None:
        made = propose_breakage(
            terms=BreakageTerms(
                "all", "USD", date(2026, 1, 1), None, Method.PROPORTIONAL, Decimal("0.1"), "seen",
                refundable,
            ),
            proposal=WORDS, by=shop.maker, at=LONG_AGO,
        )  # fmt: skip
        approve(change=made.policy_change, by=shop.approver, reason="so", at=LONG_AGO)

    with pytest.raises(Invalid, match="no terms nonsense"):
        estimate(("nonsense",))
    estimate(("refundable",))
    recognise(customer, "2026-02-01")
    close_month("2026-01-01", "2026-02-02")

    # Of 100.00 a tenth breaks: 10.00 x 40 / (40 + 50). With both it had been 20.00 x 140 / 180.
    assert balances()["2190"] == 444
