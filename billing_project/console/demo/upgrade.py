"""One customer changes to a larger plan in the middle of their period."""

from datetime import datetime, timedelta

from billing_project.console.demo.setting import Setting
from invoicing.models import ChangeKind, Invoice, InvoiceStatus, Plan, PlanVersion
from invoicing.phases import Moment
from invoicing.selectors import governing_plan_version
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.invoices import finalize_invoice
from invoicing.services.subscriptions import subscribe
from metering.services.customers import create_customer

NAME = "cust-upgrade"
UPGRADE_DAY = 15


def upgrade_in_mid_period(setting: Setting, at: datetime) -> None:
    """Sell Starter at the period's start, and Growth from its sixteenth day on.

    Half of the old fee comes back by a note, half of the new one is charged: both by the day, with
    the arithmetic on the documents. Credits are topped up for the days that are left.
    """
    start = setting.period.start
    changed_at = start + timedelta(days=UPGRADE_DAY)
    customer = create_customer(
        external_id=NAME, name="Customer that grew", currency="USD",
        email=f"billing@{NAME}.example", by=setting.cast.support, at=at,
    )  # fmt: skip
    sold = subscribe(
        customer=customer, plan_version=_version("starter", at), start_at=start,
        by=setting.cast.support, at=start,
    )  # fmt: skip
    _finalize(setting, start)
    asked = Asked(
        ChangeKind.PLAN, Moment.NOW, "They outgrew Starter", "demo-upgrade", _version("growth", at)
    )
    change_subscription(subscription=sold, asked=asked, by=setting.cast.support, at=changed_at)
    _finalize(setting, changed_at)


def _version(code: str, at: datetime) -> PlanVersion:
    version = governing_plan_version(Plan.objects.get(code=code), at)
    assert version is not None, "the setting has approved its plans"
    return version


def _finalize(setting: Setting, at: datetime) -> None:
    drafts = Invoice.objects.filter(customer__external_id=NAME, status=InvoiceStatus.DRAFT)
    for draft in drafts.order_by("id"):
        finalize_invoice(invoice=draft, by=setting.cast.maker, at=at)
