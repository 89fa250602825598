"""What becomes of credits at and after a grant's end; when the job ran changes nothing."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from billing_project.kernel.errors import Conflict, Insufficient, Invalid
from billing_project.kernel.models import AuditEntry
from credits import checks, grants_checks
from credits.models import CreditGrant, GrantTerms, LedgerTransaction
from credits.selectors import balance, overage_of_period
from credits.selectors.taken import is_taken_back, voided_at
from credits.selectors.used import used_stays
from credits.selectors.why import why_this_grant
from credits.services.clawing import claw_back
from credits.services.grants import expire_due_grants, expire_grant, void_grant
from credits.services.reinstating import reinstate_grant
from credits.services.replaying import replay_credits
from credits.services.terms import TermsInput, issue_under_terms, propose_grant_terms
from metering.services.adjust import cancel_event
from metering.services.customers import close_customer, reopen_customer
from tests.credits.builders import DAY_10, NOVEMBER, Shop, figures, words

pytestmark = pytest.mark.django_db
END = DAY_10 + timedelta(hours=5)
HOUR = timedelta(hours=1)


def _expire(shop: Shop) -> int:
    return expire_due_grants(by=shop.maker, at=shop.at)


def _cancel(shop: Shop, identifier: str) -> None:
    """Cancel an event and rate what it was."""
    cancel_event(
        customer=shop.customer, identifier=identifier, reason="test", by=shop.maker, at=shop.at
    )
    shop.rate()


def _sound() -> None:
    for check in (
        checks.grants_follow_the_ledger, checks.draws_respect_grants, checks.costs_follow_prices,
        checks.drawn_is_in_the_ledger, checks.grants_are_filled_once,
        grants_checks.links_keep_credits, grants_checks.reinstated_was_taken,
        grants_checks.grants_stay_in_bounds, grants_checks.grants_follow_terms,
    ):  # fmt: skip
        assert list(check()) == []


def _kinds(grant: CreditGrant) -> list[tuple[str, str]]:
    entries = LedgerTransaction.objects.filter(grant=grant).order_by("position")
    return [(entry.kind, figures(entry.credits)) for entry in entries]


def _terms(shop: Shop, **fields: object) -> GrantTerms:
    terms = propose_grant_terms(
        code="monthly", terms=TermsInput(**{"category": "promotional", **fields}),  # type: ignore[arg-type]
        proposal=words(NOVEMBER.start - timedelta(days=30)), by=shop.maker, at=shop.at,
    )  # fmt: skip
    shop.approve(terms.policy_change)
    return terms


def _under(shop: Shop, terms: GrantTerms, amount: str = "100", **more: object) -> CreditGrant:
    return issue_under_terms(
        terms=terms, customer=shop.customer, amount=Decimal(amount), pricing_unit=shop.unit,
        reason_code="welcome", source_key=f"test:{amount}:{terms}", by=shop.maker, at=shop.at,
        effective_at=NOVEMBER.start, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_usage_from_before_the_end_burns_what_expired_meanwhile(shop: Shop) -> None:
    grant = shop.grant("100", expires_at=END)
    _expire(shop)
    shop.use(END - HOUR, input="60")
    shop.use(END + HOUR, input="10")
    shop.rate()

    assert _kinds(grant) == [
        ("granted", "100"), ("expired", "-100"), ("reinstated", "30"), ("drawn", "-30"),
    ]  # fmt: skip
    assert overage_of_period(shop.period()) == 5
    _sound()


@pytest.mark.parametrize("acts", list(permutations(["expire", "early", "late", "other"])))
def test_the_order_of_job_and_rating_changes_nothing(shop: Shop, acts: tuple[str, ...]) -> None:
    ending, other = shop.grant("20", expires_at=END), shop.grant("100", priority=60)
    for act in acts:
        if act == "expire":
            _expire(shop)
        else:
            hours = {"early": -2, "late": -1, "other": 3}
            shop.use(END + hours[act] * HOUR, input="30")
            shop.rate()

    drawn = LedgerTransaction.objects.filter(kind="drawn")
    used = {g.pk: -sum(e.credits for e in drawn.filter(grant=g)) for g in (ending, other)}
    assert used == {ending.pk: 20, other.pk: 25}  # 45 used: 30 before the end, of them 20 here.
    _expire(shop)
    assert CreditGrant.objects.get(pk=ending.pk).remaining == 0
    _sound()


def test_what_a_person_ended_early_is_not_burned_by_late_usage(shop: Shop) -> None:
    grant = shop.grant("100")
    expire_grant(grant=grant, reason_code="contract_ended", by=shop.maker, at=shop.at)
    shop.use(input="60")
    shop.rate()

    assert _kinds(grant) == [("granted", "100"), ("expired", "-100")]
    assert overage_of_period(shop.period()) == 30


def test_a_person_who_comes_after_the_end_ends_a_grant_as_time_does(shop: Shop) -> None:
    terms = _terms(shop, life_days=5, rollover="fraction", rollover_value=Decimal("0.5"))
    grant = _under(shop, terms)
    entry = expire_grant(grant=grant, reason_code="tidy_up", by=shop.maker, at=shop.at)
    again = expire_grant(grant=grant, reason_code="tidy_up", by=shop.maker, at=shop.at)
    shop.use(NOVEMBER.start + HOUR, input="60")  # 30 credits, from before the end.
    shop.rate()

    assert (entry.reason_code, entry.effective_at, again) == ("due", grant.expires_at, entry)
    assert _kinds(grant) == [
        ("granted", "100"), ("rolled_over", "-50"), ("expired", "-50"),
        ("reinstated", "30"), ("drawn", "-30"),
    ]  # fmt: skip
    assert overage_of_period(shop.period()) == 0
    _sound()


@pytest.mark.parametrize("value", ["0.25", "0.5", "1"])
@pytest.mark.parametrize("used", ["20", "100", "160", "200"])
def test_late_usage_never_leaves_less_rolled_over_and_at_most_the_bound_more(
    shop: Shop, value: str, used: str
) -> None:
    fraction, credits_ = Decimal(value), Decimal(used) / 2
    terms = _terms(shop, life_days=5, rollover="fraction", rollover_value=fraction)
    grant = _under(shop, terms)
    _expire(shop)
    shop.use(NOVEMBER.start + HOUR, input=used)
    shop.rate()
    linked = CreditGrant.objects.get(origin=grant)

    on_time = fraction * (100 - credits_)  # What would have rolled over, had it come in time.
    assert 0 <= linked.remaining - on_time <= fraction * (1 - fraction) * 100
    assert overage_of_period(shop.period()) == 0
    _sound()


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("used", ["20", "160", "200"])
def test_what_a_cap_rolls_over_does_not_depend_on_the_order(
    shop: Shop, used: str, is_first: bool
) -> None:
    terms = _terms(shop, life_days=5, rollover="cap", rollover_value=Decimal(30))
    grant = _under(shop, terms)
    if not is_first:
        _expire(shop)
    shop.use(NOVEMBER.start + HOUR, input=used)
    shop.rate()
    if is_first:
        _expire(shop)
    linked = CreditGrant.objects.filter(origin=grant).first()

    assert (linked.remaining if linked else 0) == min(30, 100 - Decimal(used) / 2)
    _sound()


@pytest.mark.parametrize(
    ("fields", "rolled"),
    [
        ({"rollover": "fraction", "rollover_value": Decimal("0.5")}, "35"),
        ({"rollover": "cap", "rollover_value": Decimal(20)}, "20"),
        ({}, None),
    ],
)
def test_the_terms_say_what_rolls_over(
    shop: Shop, fields: dict[str, object], rolled: str | None
) -> None:
    terms = _terms(shop, life_days=10, **fields)
    grant = _under(shop, terms)
    shop.use(input="60")  # 30 credits; 70 are left.
    shop.rate()
    _expire(shop)
    linked = CreditGrant.objects.filter(origin=grant).first()

    assert (linked and figures(linked.remaining)) == rolled
    if linked:
        assert (linked.effective_at, linked.terms, linked.root) == (grant.expires_at, terms, grant)
        assert expire_due_grants(by=shop.maker, at=shop.at + timedelta(days=30)) == 1
        assert CreditGrant.objects.filter(origin=linked).count() == 0  # It rolls over once.
    _sound()


def test_credits_of_a_cancelled_event_go_to_a_linked_grant_once_theirs_has_ended(
    shop: Shop,
) -> None:
    grant = shop.grant("100", expires_at=END, category="paid", price_minor=777)
    event = shop.use(END - HOUR, input="60")
    shop.rate()
    _expire(shop)
    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.rate()
    linked = CreditGrant.objects.get(origin=grant)

    assert _kinds(grant)[-2:] == [("returned", "30"), ("rolled_over", "-30")]
    assert figures(linked.remaining, linked.priced_amount) == "30 100"
    assert linked.expires_at == shop.at + (END - grant.effective_at)
    assert LedgerTransaction.objects.get(grant=linked).cost_unrounded == Decimal("2.331")
    _sound()


def test_credits_that_came_back_are_burned_and_come_back_again(shop: Shop) -> None:
    grant = shop.grant("100", expires_at=END)
    first = shop.use(END - HOUR, input="60")
    shop.rate()
    cancel_event(customer=shop.customer, identifier=first, reason="test", by=shop.maker, at=shop.at)
    shop.rate()
    _expire(shop)
    again = shop.use(END - HOUR, input="180")  # 90: 70 that lapsed, 20 of the linked 30.
    shop.rate()
    linked = CreditGrant.objects.get(origin=grant)

    assert figures(linked.remaining) == "10"
    cancel_event(customer=shop.customer, identifier=again, reason="test", by=shop.maker, at=shop.at)
    shop.rate()
    assert sum(unit.available for unit in balance(shop.customer, shop.at)) == 100
    _sound()


def test_a_voided_grant_takes_nothing_back(shop: Shop) -> None:
    grant = shop.grant("100")
    event = shop.use(input="60")
    shop.rate()
    void_grant(grant=grant, reason_code="duplicate", by=shop.maker, at=shop.at)
    assert used_stays(grant) == "30 of 100 credits were used and stay used."
    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.rate()

    assert CreditGrant.objects.get().remaining == 0
    assert _kinds(grant)[-2:] == [("returned", "30"), ("voided", "-30")]
    _sound()


@pytest.mark.parametrize("end", [void_grant, expire_grant])
def test_an_end_by_mistake_is_undone_once(shop: Shop, end: object) -> None:
    grant = shop.grant("100")
    end(grant=grant, reason_code="duplicate", by=shop.maker, at=shop.at)  # type: ignore[operator]
    entry = reinstate_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)

    assert (entry.kind, figures(entry.credits, grant.remaining)) == ("reinstated", "100 100")
    with pytest.raises(Insufficient):
        reinstate_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)
    with pytest.raises(Invalid):
        reinstate_grant(grant=grant, reason_code="late_usage", by=shop.maker, at=shop.at)
    shop.use(input="60")
    shop.rate()
    assert CreditGrant.objects.get().remaining == 70
    _sound()


def test_what_time_took_is_not_reinstated(shop: Shop) -> None:
    grant = shop.grant("100", expires_at=END)
    _expire(shop)

    with pytest.raises(Conflict) as caught:
        reinstate_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)
    assert caught.value.code == "grant_is_over"


def test_a_refund_and_a_dispute_claw_back_once(shop: Shop) -> None:
    grant = shop.grant("100", category="paid", price_minor=1_000)
    shop.use(input="80")
    shop.rate()
    first, again, second = (
        claw_back(grant=grant, reason=reason, reference=reference, by=shop.maker, at=shop.at)
        for reason, reference in [("refund", "re_1"), ("refund", "re_1"), ("dispute", "dp_1")]
    )

    assert (figures(first.credits, first.used), again) == ("60 40", first)
    assert (second.follows, figures(second.credits)) == (first, "0")
    assert _kinds(grant)[-1] == ("voided", "-60")
    assert list(grants_checks.clawed_back_once()) == []
    with pytest.raises(Conflict):
        reinstate_grant(grant=grant, reason_code="mistake", by=shop.maker, at=shop.at)


def test_gifts_are_not_clawed_back(shop: Shop) -> None:
    with pytest.raises(Conflict) as caught:
        claw_back(
            grant=shop.grant("100"), reason="refund", reference="r", by=shop.maker, at=shop.at
        )
    assert caught.value.code == "not_sold"


def test_a_closed_customer_gets_no_credits(shop: Shop) -> None:
    close_customer(customer=shop.customer, by=shop.maker, at=shop.at, reason="left")
    with pytest.raises(Conflict) as caught:
        shop.grant("100")
    assert (caught.value.code, caught.value.field) == ("customer_closed", "customer")
    assert not CreditGrant.objects.exists()
    reopen_customer(customer=shop.customer, by=shop.maker, at=shop.at, reason="came back")
    shop.grant("100")
    actions = AuditEntry.objects.values_list("action", flat=True)
    assert {"close_customer", "reopen_customer"} <= set(actions)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"category": "gift"}, "category"),
        ({"expires_at": NOVEMBER.start}, "expires_at"),
        ({"meter_codes": ["nothing"]}, "scope.meters"),
        ({"priority": 101}, "priority"),
        ({"effective_at": datetime(1990, 1, 1, tzinfo=NOVEMBER.start.tzinfo)}, "effective_at"),
    ],
)
def test_a_refused_grant_names_its_field_and_stores_nothing(
    shop: Shop, fields: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        shop.grant("100", **fields)

    assert caught.value.field == field
    assert not CreditGrant.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"category": "gift"}, "category"),
        ({"rollover": "cap"}, "rollover_value"),
        ({"rollover": "fraction", "rollover_value": Decimal(2), "life_days": 3}, "rollover_value"),
        ({"rollover": "cap", "rollover_value": Decimal(2)}, "life_days"),
        ({"meter_codes": ["nothing"]}, "meter_codes"),
        ({"life_days": 0}, "life_days"),
        ({"refund_rule": "maybe"}, "refund_rule"),
    ],
)
def test_refused_terms_name_their_field(shop: Shop, fields: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        _terms(shop, **fields)

    assert caught.value.field == field
    assert not GrantTerms.objects.exists()


def test_a_new_version_of_terms_does_not_touch_what_was_given(shop: Shop) -> None:
    first = _terms(shop, life_days=10)
    grant = _under(shop, first)
    _terms(shop, life_days=10, rollover="cap", rollover_value=Decimal(50))
    _expire(shop)

    assert not CreditGrant.objects.filter(origin=grant).exists()
    assert CreditGrant.objects.get().terms == first


def test_a_burn_says_why_it_took_this_grant(shop: Shop) -> None:
    shop.grant("100", priority=50)
    chosen = shop.grant("100", priority=10)
    shop.use(input="60")
    shop.rate()
    entry = LedgerTransaction.objects.get(kind="drawn")

    assert entry.grant == chosen
    assert why_this_grant(entry).startswith("priority 10, before grant ")
    assert why_this_grant(entry).endswith("(burn_order v1, stripe order)")
    assert why_this_grant(LedgerTransaction.objects.filter(kind="granted")[0]) == ""


@pytest.mark.parametrize("used", ["18", "20"])
def test_what_comes_back_to_a_clawed_back_purchase_is_void(shop: Shop, used: str) -> None:
    # 20 x 0.5 = 10 credits: nothing was unused when the price went back.
    pack = shop.grant("10", category="paid", price_minor=900)
    event = shop.use(input=used)
    shop.rate()
    claw_back(grant=pack, reason="refund", reference="re_1", by=shop.maker, at=shop.at)

    cancel_event(customer=shop.customer, identifier=event, reason="x", by=shop.maker, at=shop.at)
    shop.rate()

    pack.refresh_from_db()
    assert pack.remaining == 0
    assert _kinds(pack)[-1] == ("voided", f"-{Decimal(used) / 2:f}".removesuffix(".0"))
    assert replay_credits(shop.customer.pk).differences == ()
    _sound()


def test_what_came_back_before_a_claw_back_at_the_same_time_is_taken_by_it(shop: Shop) -> None:
    pack = shop.grant("10", category="paid", price_minor=900)
    event = shop.use(input="20")
    shop.rate()
    cancel_event(customer=shop.customer, identifier=event, reason="x", by=shop.maker, at=shop.at)
    shop.rate()

    row = claw_back(grant=pack, reason="refund", reference="re_1", by=shop.maker, at=shop.at)

    assert figures(row.credits, row.used) == "10 0"
    assert replay_credits(shop.customer.pk).differences == ()


def test_a_void_of_a_linked_grant_holds_for_what_comes_back_to_its_origin(shop: Shop) -> None:
    pack = shop.grant("100", expires_at=END, category="paid", price_minor=900)
    events = [shop.use(END - HOUR, input="60"), shop.use(END - 2 * HOUR, input="20")]
    shop.rate()
    _expire(shop)
    _cancel(shop, events[0])
    linked = CreditGrant.objects.get(origin=pack)
    void_grant(grant=linked, reason_code="refunded", by=shop.maker, at=shop.at)
    _cancel(shop, events[1])

    assert _kinds(pack)[-2:] == [("returned", "10"), ("voided", "-10")]
    assert not CreditGrant.objects.filter(remaining__gt=0).exists()
    assert is_taken_back(CreditGrant.objects.get(pk=pack.pk))
    assert replay_credits(shop.customer.pk).differences == ()
    _sound()


def test_once_a_linked_grant_is_reinstated_its_chain_takes_credits_back_again(shop: Shop) -> None:
    gift = shop.grant("100", expires_at=END)
    events = [shop.use(END - hours * HOUR, input="20") for hours in (1, 2, 3)]
    shop.rate()
    _expire(shop)
    _cancel(shop, events[0])
    linked = CreditGrant.objects.get(origin=gift)
    void_grant(grant=linked, reason_code="mistake", by=shop.maker, at=shop.at)
    _cancel(shop, events[1])
    reinstate_grant(grant=linked, reason_code="undo", by=shop.maker, at=shop.at)
    _cancel(shop, events[2])

    assert _kinds(gift)[-4:] == [
        ("returned", "10"), ("voided", "-10"), ("returned", "10"), ("rolled_over", "-10"),
    ]  # fmt: skip
    assert replay_credits(shop.customer.pk).differences == ()
    _sound()


def test_a_purchase_is_taken_back_while_the_void_of_any_of_its_grants_stands(shop: Shop) -> None:
    pack = shop.grant("100", expires_at=END, category="paid", price_minor=900)
    events = [shop.use(END - hours * HOUR, input="20") for hours in (1, 2)]
    shop.rate()
    void_grant(grant=pack, reason_code="refunded", by=shop.maker, at=END - HOUR)
    reinstate_grant(grant=pack, reason_code="undo", by=shop.maker, at=END - HOUR)
    _expire(shop)
    linked = []
    for event in events:
        _cancel(shop, event)
        linked.append(CreditGrant.objects.filter(origin=pack).latest("pk"))
    for grant in linked:
        void_grant(grant=grant, reason_code="refunded", by=shop.maker, at=shop.at)
    reinstate_grant(grant=linked[1], reason_code="undo", by=shop.maker, at=shop.at)

    assert not is_taken_back(pack)  # 10 credits remain of it.
    expire_grant(grant=linked[1], reason_code="contract_ended", by=shop.maker, at=shop.at)
    assert is_taken_back(pack)  # The void of the first linked grant stands.
    reinstate_grant(grant=linked[1], reason_code="undo", by=shop.maker, at=shop.at)
    assert voided_at([pack.pk])[pack.pk] == shop.at
    assert not is_taken_back(pack)
    _sound()


@pytest.mark.parametrize("how", ["claw back", "void"])
def test_late_usage_burns_nothing_of_what_was_taken_back(shop: Shop, how: str) -> None:
    pack = shop.grant("100", expires_at=END, category="paid", price_minor=900)
    event = shop.use(END - HOUR, input="60")
    shop.rate()
    _expire(shop)
    _cancel(shop, event)
    linked = CreditGrant.objects.get(origin=pack)
    if how == "void":
        void_grant(grant=linked, reason_code="refunded", by=shop.maker, at=shop.at)
    else:
        claw_back(grant=pack, reason="refund", reference="re_1", by=shop.maker, at=shop.at)
    shop.use(END - 2 * HOUR, input="50")
    shop.rate()

    assert overage_of_period(shop.period()) == 25
    assert _kinds(pack)[-1] == ("rolled_over", "-30")
    assert replay_credits(shop.customer.pk).differences == ()
    _sound()
