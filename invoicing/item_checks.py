"""Checks of what plans' items claim, and whether it is drafted."""

from collections.abc import Iterator
from datetime import timedelta

from billing_project.kernel import clock
from billing_project.kernel.books import Finding, check
from billing_project.kernel.quantity import how_many
from invoicing.selectors.item_faults import (
    coupons_beyond_their_terms,
    emptied_drafts,
    lines_off_their_discounts,
    lines_off_their_outcomes,
    outcomes_off_their_decisions,
    subscriptions_short_of_seats,
)
from invoicing.selectors.terms import terms_off_their_commit

_PATIENCE = timedelta(hours=1)  # The worker bills every few minutes.


@check("Discounts of a line sum to what came off it")
def discounts_add_up() -> Iterator[Finding]:
    """Sum the discounts of each line."""
    for line, off, parts in lines_off_their_discounts():
        yield Finding(f"invoice_line:{line}", f"has {off} off, its discounts sum to {parts}")


@check("Outcomes are what was last decided, and billed once, at their price, while accepted")
def outcomes_are_as_decided() -> Iterator[Finding]:
    """Fold each outcome's decisions, and count the outcomes behind each line."""
    for outcome, state, decided in outcomes_off_their_decisions():
        yield Finding(f"outcome:{outcome}", f"is {state}, but was decided to be {decided}")
    for line, quantity, count, amount, worth in lines_off_their_outcomes():
        yield Finding(
            f"invoice_line:{line}",
            f"claims {amount} for {quantity} outcomes; {count} stand behind it, worth {worth}",
        )


@check("No subscription ever has fewer than no seats")
def seats_are_not_negative() -> Iterator[Finding]:
    """Run over each subscription's changes in their order."""
    for subscription, least in subscriptions_short_of_seats():
        yield Finding(f"subscription:{subscription}", f"has {least} seats at some instant")


@check("Coupons were approved, and redeemed while they ran, as often as they allow")
def coupons_are_within_their_terms() -> Iterator[Finding]:
    """Count each coupon's redemptions."""
    for code, count, most in coupons_beyond_their_terms():
        yield Finding(
            f"coupon:{code}", f"was redeemed {how_many(count, 'time')}, beyond its terms ({most})"
        )


@check(
    "A draft that lost its usage keeps no ended period open, and nothing that is owed waits for it"
)
def emptied_drafts_hold_nothing_up() -> Iterator[Finding]:
    """Look at drafts without lines, once the worker had the time to."""
    for draft, period, is_closed, waiting in emptied_drafts(clock.now() - _PATIENCE):
        subject = f"billing_period:{period}"
        if not is_closed:
            yield Finding(subject, f"is not closed: its draft {draft} has no lines")
        if waiting:
            outcomes = how_many(waiting, "accepted outcome")
            yield Finding(subject, f"{outcomes} on no line, and its draft {draft} has none")


@check("An ended term charges max(commit, what counts toward it), less what was conceded")
def terms_charge_their_commit() -> Iterator[Finding]:
    """Work out anew the terms that something changed after they were trued up."""
    now = clock.now()
    for period, off in terms_off_their_commit(now, now - _PATIENCE):
        way = "too little" if off > 0 else "too much"
        yield Finding(f"billing_period:{period}", f"its term claims {abs(off)} {way}")
