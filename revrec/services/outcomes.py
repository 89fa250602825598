"""Account for outcomes: earned when they are accepted, unbilled until an invoice claims them.

A decision that takes an acceptance back turns its entry around; once invoiced, only a note can.
"""

from invoicing.models import InvoiceLine, OutcomeDecision
from invoicing.outcomes import State, earned_change
from revrec.models import ObligationKind, PerformanceObligation
from revrec.posting import EntryKind, outcome_earned
from revrec.selectors.facts import unaccounted_decisions
from revrec.services.drafts import Run, about
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.sources import Source, SourceType


def account_decisions(run: Run) -> int:
    """Post Dr 1200 Cr 4050 for each acceptance, and back; return the entries posted."""
    drafts, silent = [], []
    for decision in unaccounted_decisions(run.customer_id):
        price_minor = decision.outcome.item.amount_minor
        before, after = State(decision.state_before), State(decision.state)
        if change_minor := earned_change(before, after, price_minor):
            drafts.append(_draft(run, decision, change_minor))
        else:
            silent.append(_source(decision))
    note_nothing_to_post(sources=silent)
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def outcome_key_of(line: InvoiceLine) -> str:
    """Name the promise that an outcome line bills: one item's of a billing period."""
    code = line.source_key.partition(":outcome:")[2]
    return f"billing_period:{line.billing_period_id}:outcome:{code}"


def _draft(run: Run, decision: OutcomeDecision, change_minor: int) -> EntryDraft:
    obligation = _followed(decision, change_minor)
    decided_on = run.day_of(decision.decided_at)
    return EntryDraft(
        wanted_on=decided_on,
        kind=EntryKind.OUTCOME_DECIDED,
        description=f"Outcome {decision.outcome} {decision.state}",
        customer_id=run.customer_id,
        lines=outcome_earned(change_minor, about(obligation, decided_on)),
        source_key=f"outcome_decision:{decision.pk}",
        sources=(_source(decision),),
    )


def _followed(decision: OutcomeDecision, change_minor: int) -> PerformanceObligation:
    """Move the promise of an item in its period, which is made on first use."""
    outcome = decision.outcome
    obligation, _ = PerformanceObligation.objects.get_or_create(
        source_key=f"billing_period:{outcome.billing_period_id}:outcome:{outcome.item.code}",
        defaults={
            "customer_id": outcome.customer_id,
            "kind": ObligationKind.OUTCOME,
            "billing_period": outcome.billing_period,
            "currency": outcome.item.plan_version.currency,
            "price_minor": 0,
        },
    )
    obligation.price_minor += change_minor
    obligation.recognised_minor += change_minor
    obligation.save(update_fields=["price_minor", "recognised_minor"])
    return obligation


def _source(decision: OutcomeDecision) -> Source:
    return Source(SourceType.OUTCOME_DECISION, decision.pk)
