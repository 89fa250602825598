"""What went wrong between an event and a balance, and with those who are told of it."""

from datetime import datetime

from django.urls import reverse
from django_q.models import Failure

from billing_project.console import figures
from billing_project.console.exception_kinds import Exceptional, Kind, kind_of, kind_of_list
from billing_project.kernel.backoffice.display import object_url, sentence_text
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.models import OutboxMessage, WebhookDelivery, WebhookEndpoint
from billing_project.kernel.quantity import how_many
from credits.models import Alert, Incident, IncidentState
from credits.selectors.unrated import BLOCKED, open_unrated_episodes
from metering.models import LagEpisode, QuarantineGroup


def quarantine(at: datetime) -> Kind:
    """Events that are kept and not billed yet, by what they lack."""
    return kind_of(
        "Quarantined events",
        "Map the customer, add the meter, replay or dismiss: nothing is lost meanwhile.",
        QuarantineGroup.objects.select_related("person").order_by("first_seen_at"),
        lambda one: Exceptional(
            f"{sentence_text(one.reason)}: {one.missing}",
            how_many(one.event_count, "event"),
            str(one.person or one.role),
            one.first_seen_at,
            object_url(one),
        ),
        list_url(QuarantineGroup, {}),
        permission="metering.replay_quarantinedevent",
    )


def lag(at: datetime) -> Kind:
    """Stretches in which usage was counted later than promised."""
    return kind_of(
        "Counted late",
        "Acknowledge it, and see why the worker does not keep up.",
        LagEpisode.objects.filter(closed_at=None).order_by("opened_at"),
        lambda one: Exceptional(
            "Usage is counted later than it should",
            f"{one.worst_lag_seconds:.0f} s at worst",
            str(one.acknowledged_by or "engineering"),
            one.opened_at,
            object_url(one),
        ),
        list_url(LagEpisode, {}),
        permission="metering.acknowledge_lagepisode",
    )


def unrated(at: datetime) -> Kind:
    """Usage that waits for an approved rate."""
    return kind_of(
        "Usage without a rate",
        "Propose its rate on the burn table; once approved, the usage is rated by itself.",
        open_unrated_episodes().order_by("opened_at"),
        lambda one: Exceptional(
            f"{one.meter.code}: {one.model or 'no model'}",
            f"{how_many(one.window_count, 'window')} of {how_many(one.customer_count, 'customer')}",
            str(one.acknowledged_by or "product"),
            one.opened_at,
            object_url(one),
        ),
        reverse("console:unrated"),
        permission="credits.acknowledge_unratedepisode",
    )


def stuck(at: datetime) -> Kind:
    """Notes that the next step has not taken up for too long; what waits for a rate is no such."""
    rows = [note for note in figures.stuck_notes(at) if note.topic != BLOCKED]
    return kind_of_list(
        "Work that is stuck",
        "Something fails again and again: the worker's log says what.",
        [
            Exceptional(
                f"{how_many(note.count, 'note')} of {note.topic.replace('_', ' ')} stuck",
                "not taken up: see the worker's log",
                "engineering",
                note.since,
                list_url(OutboxMessage, {"topic__exact": note.topic}),
            )
            for note in rows
        ],
        list_url(OutboxMessage, {}),
    )


def failed(at: datetime) -> Kind:
    """Tasks of the worker that failed in the last days."""
    since = at - figures.FAILURES_SHOWN
    return kind_of(
        "Tasks that failed",
        "The next run takes up the same work; a task that fails each time is mended.",
        Failure.objects.filter(started__gte=since).order_by("started"),
        lambda one: Exceptional(
            str(one.func), str(one.result)[:120], "engineering", one.started, object_url(one)
        ),
        list_url(Failure, {}),
    )


def alerts(at: datetime) -> Kind:
    """Alerts that nobody looks after."""
    rows = Alert.objects.filter(acknowledged_at=None, ended_at=None)
    return kind_of(
        "Alerts nobody acknowledged",
        "Acknowledge it with a note: from then on you look after it.",
        rows.select_related("customer", "owner").order_by("raised_at"),
        lambda one: Exceptional(
            one.title,
            one.customer.name if one.customer else "all customers",
            str(one.owner or "support"),
            one.raised_at,
            object_url(one),
        ),
        list_url(Alert, {}),
        permission="credits.acknowledge_alert",
    )


def incidents(at: datetime) -> Kind:
    """Incidents that are not resolved."""
    rows = Incident.objects.exclude(state=IncidentState.RESOLVED)
    return kind_of(
        "Open incidents",
        "Say what was done, make its evidence pack, and resolve it.",
        rows.select_related("customer", "owner").order_by("opened_at"),
        lambda one: Exceptional(
            str(one),
            f"{one.state}, {one.customer.name if one.customer else 'all customers'}",
            str(one.owner),
            one.opened_at,
            object_url(one),
        ),
        list_url(Incident, {}),
        permission="credits.manage_anomaly",
    )


def webhooks(at: datetime) -> Kind:
    """Receivers that were switched off, or to which something was given up."""
    return kind_of_list(
        "Systems that are told nothing",
        "Mend the receiver, switch the endpoint on, and send again.",
        [_of_endpoint(one) for one in figures.endpoints_in_trouble()],
        list_url(WebhookEndpoint, {}),
        permission="kernel.manage_webhookendpoint",
    )


def _of_endpoint(one: WebhookEndpoint) -> Exceptional:
    given_up: int = one.given_up_count  # type: ignore[attr-defined]
    title, detail = f"Nothing is sent to {one.url}", f"switched off: {one.disabled_reason}"
    if one.disabled_at is None:
        title = f"{how_many(given_up, 'webhook')} to {one.url} given up"
        detail = "not taken in three days: mend the receiver and send again"
    since, url = one.failing_since, object_url(one)
    if one.disabled_at is None:
        lookups = {"endpoint__id__exact": one.pk, "state": "given_up_at"}
        url = list_url(WebhookDelivery, lookups)
    return Exceptional(title, detail, "engineering", since, url)
