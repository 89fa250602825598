"""A back office with something on every page, and how tests walk through it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.db.models import Model
from django.forms import BoundField, CheckboxSelectMultiple, MultiWidget, Select
from django.test import Client
from django.urls import reverse

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.backoffice.actions import FormAction
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import (
    IdempotencyRecord,
    PolicyChange,
    SignInOutcome,
    SignInStep,
    User,
    WebhookDelivery,
)
from billing_project.kernel.money import Money
from billing_project.kernel.ownership import name_owner
from billing_project.kernel.signins.attempts import Origin, begin_attempt, end_attempt
from billing_project.kernel.signins.devices import sign_in_device
from billing_project.kernel.signins.factors import enrol_factor, secret_to_enrol
from billing_project.kernel.signins.totp import code_of, step_at
from billing_project.kernel.users import ROLES
from billing_project.kernel.webhooks.announcing import TEST, announce
from billing_project.kernel.webhooks.endpoints import Wish, create_endpoint
from credits.models import GrantTerms, UnratedEpisode
from credits.services.policies import propose_credit_policy
from credits.services.rates import RateInput, propose_rate_card_version
from credits.services.recurring import create_recurring_grant
from credits.services.supplier_rates import propose_supplier_rates
from credits.services.terms import TermsInput, propose_grant_terms
from credits.supplier_prices import SupplierPrice, TokenKind
from invoicing.crediting import Settlement
from invoicing.models import Invoice, LineKind
from invoicing.services.backfills import submit_backfill
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.recharging import Wish as RechargeWish
from invoicing.services.recharging import recharge_customer, set_up_recharge
from invoicing.services.refunds import record_refund, record_refund_failure
from invoicing.services.subscriptions import renew_due
from metering.events import BadItem, EventInput
from metering.imports import FileFormat
from metering.models import Customer, LagEpisode, Meter, UsageWindow
from metering.services.adjust import amend_event
from metering.services.backfills import Line, add_backfill_lines, start_backfill
from metering.services.capture import capture_events
from metering.services.customers import add_alias, create_workspace, update_customer
from metering.services.imports import ImportFile, import_stream, start_import
from metering.services.meters import create_meter
from metering.services.repairing import propose_repair
from metering.services.replaying import Difference
from revrec.services.recognise import recognise_customer
from tests.console.chain import CLOSED_AT, USED_AT, Chain, run_chain
from tests.console.limits import limit_spending
from tests.invoicing.builders import Shop, sell_plan, use
from tests.metering.late import a_late_policy

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)  # The first period has ended, October too.
CLOCK = NOW.isoformat()
_DAY = USED_AT.replace(hour=0, minute=0, second=0, microsecond=0)
HOSTILE = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Office:
    """The chain of two customers, and what waits for somebody."""

    chain: Chain
    proposed: PolicyChange


def open_office() -> Office:
    """Run the chain, and leave at least two rows on most lists and something for each action."""
    chain = run_chain("beta")
    shop = chain.shop
    _name_badly(shop)
    for customer in Customer.objects.all():
        _live_in(shop, customer)
    _settle_beta(shop)
    _leave_waiting(shop.maker)
    _price_anew(shop)
    _name_owners(shop)
    _give_every_month(shop)
    limit_spending(shop, _wish(), HOSTILE, NOW)
    use(shop, 5, NOW - timedelta(days=1), "req-3")
    sell_plan(shop, "spare")
    renew_due(by=shop.worker, at=NOW)
    for customer in Customer.objects.all():
        recognise_customer(customer_id=customer.pk, by=shop.worker, at=CLOSED_AT)
    _import_files(shop.maker)
    _propose_repairs()
    _begin_backfills(shop)
    _tell_others(shop.maker)
    _sign_in(shop.maker)
    _fill_balances(shop)
    policy = propose_credit_policy(proposal=_wish(), by=shop.maker, at=NOW)
    return Office(chain, policy.policy_change)


def _name_badly(shop: Shop) -> None:
    """Give a customer and a person names that are no names, but scripts."""
    acme = Customer.objects.get(external_id="acme")
    update_customer(customer=acme, by=shop.maker, at=USED_AT, reason=HOSTILE, name=HOSTILE)
    User.objects.filter(pk=shop.maker.pk).update(username=HOSTILE, first_name=HOSTILE)


def _live_in(shop: Shop, customer: Customer) -> None:
    for name in ("prod", "test"):
        create_workspace(customer=customer, external_id=name, name=name, by=shop.maker, at=USED_AT)
    add_alias(
        external_id=f"old-{customer.external_id}", customer=customer, reason=HOSTILE,
        by=shop.maker, at=USED_AT,
    )  # fmt: skip
    amend_event(
        customer=customer, identifier="req-1", properties={"output_tokens": "61"},
        reason="miscounted", by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip


def _settle_beta(shop: Shop) -> None:
    """Pay beta's fee and credit its overage, as the chain did for acme."""
    fee, overage = Invoice.objects.filter(customer__external_id="beta").order_by("id")[:2]
    record_payment(
        invoice=fee, amount_minor=fee.open_minor, method="card", reference="tr-2",
        paid_at=CLOSED_AT, by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip
    _refund(shop, fee)
    issue_credit_note(
        invoice=overage, lines=[(overage.lines.get(kind=LineKind.OVERAGE), 10)],
        reason="goodwill", memo="sorry", key="note-2", by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip


def _refund(shop: Shop, fee: Invoice) -> None:
    """Credit a paid fee in two refunds, one of which fails and pays a pack in part."""
    note = issue_credit_note(
        invoice=fee, lines=[(fee.lines.get(), 2000)], reason="goodwill", memo=HOSTILE,
        key="note-3", by=shop.maker, at=CLOSED_AT,
        settlement=Settlement(refund_minor=1000, balance_minor=600, out_of_band_minor=400),
    )  # fmt: skip
    failed, _ = (
        record_refund(
            credit_note=note, amount_minor=400, method="card", reference=reference,
            refunded_at=CLOSED_AT, key=reference, by=shop.maker, at=CLOSED_AT,
        )
        for reference in ("re_1", "re_2")
    )  # fmt: skip
    record_refund_failure(
        refund=failed, reason=HOSTILE, failed_at=CLOSED_AT, by=shop.maker, at=CLOSED_AT
    )
    sell_credit_pack(
        customer=fee.customer, pricing_unit=shop.unit, amount=Decimal(10), price_minor=700,
        key="pack-3", by=shop.maker, at=CLOSED_AT,
    )  # fmt: skip


def _name_owners(shop: Shop) -> None:
    """Let somebody with a script for a name answer for two steps."""
    for step in ("rate", "invoice"):
        name_owner(
            step=step, function="finance", person=shop.maker, since_at=NOW, reason=HOSTILE,
            by=shop.maker, at=NOW,
        )  # fmt: skip


def _price_anew(shop: Shop) -> None:
    """Propose a second version of the rates, for a second meter too."""
    create_meter(
        code="requests", name="Requests", event_name="llm_request", aggregation="count",
        unit="request", by=shop.maker, at=NOW,
    )  # fmt: skip
    rates = [RateInput("output_tokens", {}, Decimal(2)), RateInput("requests", {}, Decimal(1))]
    propose_rate_card_version(
        rate_card=shop.rate_card, rates=rates, proposal=_wish(), by=shop.maker, at=NOW
    )


def _give_every_month(shop: Shop) -> None:
    """Leave two versions of grant terms, and two rules under the approved one."""
    first, _ = (
        propose_grant_terms(
            code="monthly", terms=TermsInput("promotional", life_days=days), proposal=_wish(),
            by=shop.maker, at=NOW,
        )
        for days in (30, 31)
    )  # fmt: skip
    approve(change=first.policy_change, by=shop.approver, reason="agreed", at=NOW)
    terms = GrantTerms.objects.get(pk=first.pk)
    for number in range(2):
        create_recurring_grant(
            customer=Customer.objects.get(external_id="acme"), terms=terms,
            pricing_unit=shop.unit, amount=Decimal(10), interval_unit="month",
            start_at=NOW + timedelta(days=1), until_at=NOW + timedelta(days=90),
            reason_code="plan", source_key=f"rule-{number}", by=shop.maker, at=NOW,
        )  # fmt: skip


def _begin_backfills(shop: Shop) -> None:
    """Leave two backfills with an event and a fault each, one of them submitted."""
    for customer in Customer.objects.order_by("-pk"):
        backfill = start_backfill(
            customer=customer, start_at=_DAY, by=shop.maker, at=NOW,
            end_at=_DAY + timedelta(days=1), reason=HOSTILE,
        )  # fmt: skip
        event = EventInput(
            event_name="llm_request", identifier=f"again-{customer.external_id}",
            customer=customer.external_id, timestamp=USED_AT, properties={"output_tokens": "3"},
        )  # fmt: skip
        lines = [Line(1, event)]
        add_backfill_lines(backfill=backfill, lines=lines, by=shop.maker, at=NOW)
        submit_backfill(backfill=backfill, by=shop.maker, at=NOW)
        a_late_policy("quarantine", NOW + timedelta(days=9), customer, is_approved=False)
    for name in ("acme", "beta"):
        backfill = start_backfill(
            customer=Customer.objects.get(external_id=name), start_at=_DAY,
            end_at=_DAY + timedelta(hours=1), reason=HOSTILE, by=shop.maker, at=NOW,
        )  # fmt: skip
        fault = Line(1, BadItem("is not readable as an event"))
        add_backfill_lines(backfill=backfill, lines=[fault], by=shop.maker, at=NOW)


def _wish() -> Proposal:
    return Proposal("Dearer output", "The margin is thin", "Rates only", "margin", NOW)


def _leave_waiting(by: User) -> None:
    """Leave two events in quarantine, a rejection, two keys and two stored answers."""
    sent = [
        EventInput(event_name="llm_request", identifier=f"lost-{i}", customer="nobody",
                   timestamp=NOW, properties={"output_tokens": "1"})
        for i in range(2)
    ]  # fmt: skip
    sent.append(
        EventInput(event_name="llm_request", identifier="ancient", customer="acme",
                   timestamp=NOW - timedelta(days=90), properties={"output_tokens": "1"})
    )  # fmt: skip
    capture_events(items=sent, sender="test", at=NOW)
    _watch_rates(by)
    LagEpisode.objects.create(
        opened_at=CLOSED_AT, closed_at=NOW, worst_lag_seconds=90, worst_at=CLOSED_AT
    )
    for name in ("one", "two"):
        key, _ = create_api_key(name=name, scopes=["usage:read"], at=NOW)
        IdempotencyRecord.objects.create(
            api_key=key, key=f"k-{name}", route="/v1/x", request_sha256="0" * 64,
            response_status=200, response_body="{}", created_at=NOW,
        )  # fmt: skip


def _watch_rates(by: User) -> None:
    """Leave two supplier prices, and two episodes of a model without a rate."""
    kinds = (TokenKind.INPUT, TokenKind.OUTPUT)
    for price in (1, 2):
        propose_supplier_rates(
            prices=[SupplierPrice("acme", HOSTILE, kind, Decimal(price)) for kind in kinds],
            currency="USD", source=HOSTILE, proposal=_wish(), by=by, at=NOW,
        )  # fmt: skip
    for name in ("next", HOSTILE):
        UnratedEpisode.objects.create(
            meter=Meter.objects.earliest("pk"), model=name, dimensions={"model": name},
            first_used_at=NOW, opened_at=NOW, seen_at=NOW, window_count=1, quantity=1,
            customer_count=1,
        )  # fmt: skip


def _import_files(by: User) -> None:
    """Bring in two files, each with two lines that are refused."""
    for name in ("one.jsonl", "two.jsonl"):
        file = ImportFile(name, FileFormat.JSONL)
        run = start_import(file=file, by=by, at=NOW)
        import_stream(run=run, stream=io.BytesIO(b"nonsense\n" * 2), now=lambda: NOW)


def _fill_balances(shop: Shop) -> None:
    """Let each customer agree to an automatic recharge, and be recharged once."""
    for customer in Customer.objects.order_by("pk"):
        wish = RechargeWish(
            pricing_unit=shop.unit, threshold=Decimal(10**6), amount=Decimal(500),
            unit_price=Decimal("0.09"), monthly_limit=Money(10_000, customer.currency),
            consent=HOSTILE, consented_by=HOSTILE, consented_at=NOW,
        )  # fmt: skip
        set_up_recharge(customer=customer, wish=wish, by=shop.maker, at=NOW)
        recharge_customer(customer_id=customer.pk, by=shop.worker, at=NOW)


def _tell_others(by: User) -> None:
    """Leave two endpoints that were told of two events, which one of them did not take."""
    for name in ("one", "two"):
        wish = Wish(f"https://{name}.example/hook", ["*"], by, HOSTILE)
        endpoint, _ = create_endpoint(wish=wish, by=by, at=NOW)
    for key in ("one", "two"):
        announce(TEST, key=key, data={"endpoint": HOSTILE}, at=NOW)
    failed = WebhookDelivery.objects.filter(endpoint=endpoint)
    failed.update(next_try_at=None, given_up_at=NOW, failure=HOSTILE)


def _propose_repairs() -> None:
    """Propose to set two windows to what they hold already."""
    engineer = person("engineering")
    User.objects.filter(pk=engineer.pk).update(username="eli.repairs")
    window = UsageWindow.objects.order_by("pk").latest("pk")
    same = Difference(
        window.meter_id, window.customer_id, window.workspace_id, window.start_at,
        window.dimensions, window.dimensions_key, window.quantity, window.event_count,
        window.quantity, window.event_count,
    )  # fmt: skip
    for reason in ("first", "second"):
        propose_repair(differences=[same], reason=reason, by=engineer, at=NOW)


def _sign_in(maker: User) -> None:
    """Sign somebody in on two browsers with a name that is none."""
    for address in ("192.0.2.1", "192.0.2.2"):
        origin = Origin(address, HOSTILE)
        attempt = begin_attempt(
            step=SignInStep.PASSWORD, username=maker.username, origin=origin, at=NOW
        )
        end_attempt(attempt=attempt, outcome=SignInOutcome.SIGNED_IN, user=maker)
        sign_in_device(user=maker, attempt=attempt, at=NOW)
        nonce = f"nonce of {address}"
        code = code_of(secret_to_enrol(nonce), step_at(NOW))
        enrol_factor(user=maker, nonce=nonce, code=code, at=NOW)


def person(role: str) -> User:
    """Make somebody with one role; "superuser" may do everything."""
    user = User.objects.create_user(f"test.{role}", is_staff=True, is_superuser=role == "superuser")
    if role in ROLES:
        user.groups.add(Group.objects.get(name=role))
    return user


def client_of(user: User) -> Client:
    """Return a browser in which somebody is logged in."""
    client = Client()
    client.force_login(user)
    return client


def pages() -> list[tuple[type[Model], Any]]:
    """List every model with its page."""
    return list(admin.site._registry.items())


def list_of(model: type[Model]) -> str:
    """Return the address of a model's list."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(obj: Model) -> str:
    """Return the address of an object's page."""
    opts = obj._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[obj.pk])


def newest(model: type[Model]) -> Model | None:
    """Return one row of a model, or None."""
    return model._default_manager.order_by("-pk").first()


def actions() -> Iterator[tuple[type[Model], str, FormAction]]:
    """Yield every action with a form: its model, its name, what stands behind it."""
    for model, page in pages():
        for name in getattr(page, "actions_detail", ()):
            spec = getattr(getattr(page, name), "form_action", None)
            if spec is not None:
                yield model, name, spec


def actions_above_lists() -> Iterator[tuple[type[Model], str, FormAction]]:
    """Yield every action that makes a row: its model, its name, what stands behind it."""
    for model, page in pages():
        for name in page.actions_list:
            yield model, name, getattr(page, name).form_action


def url_above_list(model: type[Model], name: str) -> str:
    """Return the address of the page of an action above a list."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}")


def action_url(obj: Model, name: str) -> str:
    """Return the address of an action's page for an object."""
    opts = obj._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=[obj.pk])


def send(client: Client, url: str, /, **fields: object) -> Any:
    """Open an action's form, fill it in and send it, with all that it came with.

    What is confirmed is looked at before, as a person would.
    """
    form = client.get(url).context["form"]
    shown = {name: text for field in form for name, text in _as_shown(field)}
    sent = {**shown, **{name: str(value) for name, value in fields.items()}}
    if "seal" in form.fields and sent.get("confirmed"):
        sent = looked_at(client, url, sent)
    return client.post(url, sent)


def looked_at(client: Client, url: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Look at the preview of what is about to be sent; return it with the seal of the preview."""
    seen = client.post(url, {**sent, "confirmed": ""})
    return {**sent, "seal": seen.context["form"]["seal"].value()}


def _as_shown(field: BoundField) -> Iterator[tuple[str, str]]:
    """Yield what a browser would send for a field that nobody touched."""
    widget, value = field.field.widget, field.value()
    if isinstance(widget, MultiWidget):
        for index, part in enumerate(widget.decompress(value) or []):
            shown = widget.widgets[index].format_value(part)
            yield f"{field.name}_{index}", "" if shown is None else str(shown)
    elif isinstance(widget, CheckboxSelectMultiple):
        yield from ((field.name, str(ticked)) for ticked in value or [])
    elif isinstance(widget, Select) and not value:
        yield field.name, str(next(iter(widget.choices))[0])
    else:
        yield field.name, "" if value is None else str(value)


def told(response: Any) -> str:
    """Return the last message of a response with its level ("success: Voided ...")."""
    *_, message = get_messages(response.wsgi_request)
    return f"{message.level_tag}: {message}"
