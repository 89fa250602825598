"""Checks of the books that this app answers for: the ledger, and what it was made from."""

from collections.abc import Callable, Iterator

from billing_project.kernel import clock
from billing_project.kernel.books import Finding, check
from revrec.selectors import (
    allocation_ties,
    basis_ties,
    functional_ties,
    losing_ties,
    model_ties,
    modification_ties,
    shortfall_ties,
    silent,
    tieouts,
)
from revrec.selectors.seals import stored_seal_faults
from revrec.selectors.tieouts import Mismatch
from revrec.selectors.verifying import chain_faults
from revrec.services.anchoring import missing_of_anchor


def _findings(mismatches: Callable[[], Iterator[Mismatch]]) -> Iterator[Finding]:
    for mismatch in mismatches():
        yield Finding(mismatch.subject, f"expected {mismatch.expected}, found {mismatch.found}")


@check("Debits equal credits in every currency")
def debits_equal_credits() -> Iterator[Finding]:
    """Sum all postings by currency."""
    return _findings(tieouts.unbalanced_currencies)


@check("Entries in foreign currencies balance in the currency of their entity's books")
def books_balance() -> Iterator[Finding]:
    """Sum what the postings of every such entry are worth."""
    return _findings(functional_ties.unbalanced_books)


@check("Amounts in foreign currencies are worth what rates and carried amounts make of them")
def worths_tie() -> Iterator[Finding]:
    """Translate every entry again, from the first on."""
    return _findings(functional_ties.untied_worths)


@check("Money in foreign currencies stands at the rates of the last close")
def closing_rates_tie() -> Iterator[Finding]:
    """Value what each customer's accounts hold by the approved rates."""
    return _findings(functional_ties.untied_closing_rates)


@check("Every journal entry balances and has its postings")
def entries_balance() -> Iterator[Finding]:
    """Recount every entry."""
    return _findings(tieouts.unbalanced_entries)


@check("Revenue that names a model comes of that model's use")
def models_were_used() -> Iterator[Finding]:
    """Read the windows behind every posting of a model."""
    return _findings(model_ties.unused_models)


@check("The journal's hash chain is intact")
def chain_is_intact() -> Iterator[Finding]:
    """Recompute every hash."""
    for fault in chain_faults():
        yield Finding(fault.subject, fault.message)


@check("Every sealed head stands in the journal, under its signature")
def seals_stand() -> Iterator[Finding]:
    """Look each sealed head up, and check each signature."""
    for fault in stored_seal_faults():
        yield Finding(fault.subject, fault.message)


@check("The journal reaches the last seal that lies outside the database")
def anchor_stands() -> Iterator[Finding]:
    """Look the heads of the newest file in SEALS_DIR up."""
    for fault in missing_of_anchor():
        yield Finding(fault.subject, fault.message)


@check("Contract liabilities are what promises still owe")
def liabilities_tie() -> Iterator[Finding]:
    """Compare 2100 and 2120 promise by promise."""
    return _findings(tieouts.untied_liabilities)


@check("Revenue is what promises say is recognised")
def revenue_ties() -> Iterator[Finding]:
    """Compare 4xxx promise by promise."""
    return _findings(tieouts.untied_revenue)


@check("The unbilled receivable is overage that no invoice claims")
def unbilled_ties() -> Iterator[Finding]:
    """Compare 1200 billing period by billing period."""
    return _findings(tieouts.untied_unbilled)


@check("Shortfall revenue is what commit lines claim, and none of it is left to bill")
def shortfalls_tie() -> Iterator[Finding]:
    """Compare 4040 and 1210 line by line."""
    return _findings(shortfall_ties.untied_shortfalls)


@check("What a prepaid commitment leaves unused is its shortfall, what a pack leaves is breakage")
def ends_have_their_account() -> Iterator[Finding]:
    """Look for ends of credits on the account of the other kind."""
    return _findings(shortfall_ties.misplaced_ends)


@check("Outcome revenue is what was accepted; what of it is not invoiced is unbilled")
def outcomes_tie() -> Iterator[Finding]:
    """Compare 4050 and 1200 item by item."""
    return _findings(tieouts.untied_outcomes)


@check("Overage revenue is usage at its price, less what was conceded, and never below nothing")
def overage_earns_its_use() -> Iterator[Finding]:
    """Compare 4020 and 4900 billing period by billing period with the usage itself."""
    return _findings(tieouts.untied_overage)


@check("The receivable is what invoices still claim")
def receivables_tie() -> Iterator[Finding]:
    """Compare 1100 customer by customer."""
    return _findings(tieouts.untied_receivables)


@check("Customer balances are what credit notes owe back, less what was refunded or applied")
def customer_balances_tie() -> Iterator[Finding]:
    """Compare 2200 customer by customer."""
    return _findings(tieouts.untied_customer_balances)


@check("What is parked as disputed is what banks still have to decide")
def disputes_tie() -> Iterator[Finding]:
    """Compare 1230 customer by customer."""
    return _findings(tieouts.untied_disputes)


@check("Tax payable is what issued lines charge, less what notes took back")
def tax_ties() -> Iterator[Finding]:
    """Compare 2300 customer by customer."""
    return _findings(tieouts.untied_tax)


@check("Paid grants earned the cost of the credits used")
def grants_earn_their_cost() -> Iterator[Finding]:
    """Compare 4010 grant by grant."""
    return _findings(tieouts.untied_grants)


@check("Refunds beyond a purchase's liability are what notes gave back beyond what it carried")
def refunds_tie() -> Iterator[Finding]:
    """Compare 4910 note by note with the promise as it stood."""
    return _findings(losing_ties.untied_refunds)


@check("Rounding is what payments fell short by within the tolerance")
def short_payments_tie() -> Iterator[Finding]:
    """Compare 7900 customer by customer."""
    return _findings(losing_ties.untied_short_payments)


@check(
    "What disputes and write-offs lost stands where the policy of then says, and comes back there"
)
def losses_have_their_account() -> Iterator[Finding]:
    """Look for losses on another account than their policy's."""
    return _findings(losing_ties.misplaced_losses)


@check("Concessions and bonuses in credits are promised at their approved basis")
def bases_tie() -> Iterator[Finding]:
    """Work out again what each takes off revenue, or off its purchase."""
    return _findings(lambda: basis_ties.untied_bases(clock.now()))


@check("What was sold together divides its price by what each part would cost alone")
def contracts_tie() -> Iterator[Finding]:
    """Divide the price of each approved contract again."""
    return _findings(lambda: allocation_ties.untied_allocations(clock.now()))


@check("What was left of a changed contract lies in the promise that goes on")
def modifications_tie() -> Iterator[Finding]:
    """Compare what each change moved with what its promises deferred until then."""
    return _findings(lambda: modification_ties.untied_modifications(clock.now()))


@check("Fee schedules end on the price")
def schedules_end_on_the_price() -> Iterator[Finding]:
    """Sum what each newest schedule still plans."""
    return _findings(tieouts.unfinished_schedules)


@check("The deferred roll-forward explains the ledger")
def rollforwards_tie() -> Iterator[Finding]:
    """Explain each month's closing liabilities."""
    return _findings(tieouts.unexplained_rollforwards)


@check("Expected breakage, refunds and losses are what approved estimates say")
def estimates_tie() -> Iterator[Finding]:
    """Work out anew what the last close trued up."""
    return _findings(tieouts.untied_estimates)


@check("Closed months stand as they were closed")
def closes_stand() -> Iterator[Finding]:
    """Make each closed month's trial balance anew."""
    return _findings(tieouts.changed_closes)


@check("Every fact is in the books or waits in the outbox")
def facts_are_accounted() -> Iterator[Finding]:
    """Look for facts that were forgotten, or whose note has waited for too long."""
    return _findings(lambda: tieouts.unaccounted_facts(clock.now()))


@check("Facts without an entry really move nothing")
def silent_facts_move_nothing() -> Iterator[Finding]:
    """Work out again what was marked as moving no money."""
    for mismatches in (silent.silent_claims, silent.silent_grants, silent.silent_overage):
        yield from _findings(mismatches)
