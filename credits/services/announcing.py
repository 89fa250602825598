"""Tell other systems of credits, alerts and usage without a rate, in the transaction of each."""

from billing_project.kernel.webhooks.announcing import announce, register_webhook
from credits.models import Alert, AlertKind, CreditGrant, LedgerKind, LedgerTransaction

GRANTED = register_webhook("credit_grant.granted", "A customer got credits.")
EXPIRED = register_webhook("credit_grant.expired", "What was left of a grant lapsed.")
VOIDED = register_webhook("credit_grant.voided", "What was left of a grant was taken back.")
ALERT_RAISED = register_webhook("alert.raised", "Something needs to be looked at.")
ALERT_ENDED = register_webhook("alert.ended", "What an alert said is over.")
BALANCE_LOW = register_webhook("balance.low", "A balance is below what a rule of alerts says.")
QUARANTINED = register_webhook("usage.quarantined", "More waits in quarantine than a rule says.")
_ABOUT = {AlertKind.BALANCE: BALANCE_LOW, AlertKind.QUARANTINED: QUARANTINED}
_ENDS = {LedgerKind.EXPIRED: EXPIRED, LedgerKind.VOIDED: VOIDED}


def announce_granted(grant: CreditGrant) -> None:
    """Tell of a grant that was made just now."""
    said = {**_said(grant), "remaining": grant.amount}  # A linked one is filled after this.
    announce(GRANTED, key=f"grant:{grant.pk}:granted", data=said, at=grant.created_at)


def announce_ended(entry: LedgerTransaction) -> None:
    """Tell of credits that lapsed or were taken back; of other entries nothing."""
    kind = _ENDS.get(LedgerKind(entry.kind))
    if kind is not None and entry.credits:
        said = {
            **_said(entry.grant),
            "credits": -entry.credits,
            "ended_at": entry.effective_at,
            "reason_code": entry.reason_code,
        }
        announce(kind, key=f"ledger:{entry.source_key}", data=said, at=entry.recorded_at)


def announce_alert(alert: Alert) -> None:
    """Tell of an alert that was raised just now, by the name of what it is about as well."""
    said = _alert_said(alert)
    announce(ALERT_RAISED, key=f"alert:{alert.pk}:raised", data=said, at=alert.raised_at)
    kind = _ABOUT.get(AlertKind(alert.kind))
    if kind is not None:
        announce(kind, key=f"alert:{alert.pk}:{kind}", data=said, at=alert.raised_at)


def announce_over(alert: Alert) -> None:
    """Tell that what an alert said is over."""
    assert alert.ended_at is not None, "it is over"
    said = {**_alert_said(alert), "ended_at": alert.ended_at}
    announce(ALERT_ENDED, key=f"alert:{alert.pk}:ended", data=said, at=alert.ended_at)


def _alert_said(alert: Alert) -> dict[str, object]:
    return {
        "alert": str(alert.pk),
        "kind": str(alert.kind),
        "title": alert.title,
        "customer": alert.customer.external_id if alert.customer else None,
        "rule": alert.rule.code if alert.rule else None,
        "owner": alert.owner.username if alert.owner else None,
        "facts": alert.facts,
        "raised_at": alert.raised_at,
    }


def _said(grant: CreditGrant) -> dict[str, object]:
    return {
        "grant": str(grant.pk),
        "customer": grant.customer.external_id,
        "category": str(grant.category),
        "unit": grant.pricing_unit.code,
        "amount": grant.amount,
        "remaining": grant.remaining,
        "effective_at": grant.effective_at,
        "expires_at": grant.expires_at,
        "reason_code": grant.reason_code,
    }
