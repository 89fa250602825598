"""Forms of what is sold on a running subscription: seats by the day, and coupons."""

from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import days_text, moment_html, money_text
from billing_project.kernel.backoffice.forms import PreviewedForm, ReasonField
from billing_project.kernel.backoffice.numbers import TypedIntegerField
from billing_project.kernel.clock import now
from billing_project.kernel.users import worker_user
from invoicing.admin.subscription_forms import period_text
from invoicing.lines import Line
from invoicing.models import CouponRedemption, CreditNoteLine, InvoiceLine, SeatChange, Subscription
from invoicing.seats import seats_at
from invoicing.selectors import plan_version_at
from invoicing.selectors.advance import changes_of, coming_lines
from invoicing.selectors.changes import last_period
from invoicing.services.coupons import redeem_coupon
from invoicing.services.seats import change_seats

Row = tuple[str, str, str, str]


class SoldForm(PreviewedForm):
    """The base: what a subscription has now, and what a trial changed."""

    subject: Subscription
    before_template = "backoffice/change_effect.html"
    effect: object = None

    def facts(self) -> list[tuple[str, Any]]:
        """List what holds now."""
        sold, at = self.subject, now()
        period = last_period(sold)
        return [
            ("Customer", sold.customer.name),
            ("Plan", str(plan_version_at(sold, at))),
            ("Period", period_text(period, sold.customer)),
            ("Seats now", seats_of(sold, at)),
        ]


def seats_of(subscription: Subscription, at: datetime) -> int:
    """Count the seats of a subscription at an instant."""
    known = subscription.seats.filter(effective_at__lte=at)
    return seats_at(changes_of(list(known)), at)


class SeatsForm(SoldForm):
    """More seats, or fewer, from an instant on."""

    seats = TypedIntegerField(
        label="Seats more",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How many more; below zero: how many fewer.",
    )
    effective_at = forms.SplitDateTimeField(
        label="From (UTC)", widget=UnfoldAdminSplitDateTimeWidget, initial=now
    )
    reason = ReasonField(max_length=200)
    rows: tuple[Row, ...] = ()
    owed_minor = 0

    def attempt(self) -> None:
        """Change the seats for show, and keep what that charged or gave back."""
        sold = self.subject
        lines = InvoiceLine.objects.filter(invoice__subscription=sold)
        notes = CreditNoteLine.objects.filter(invoice_line__invoice__subscription=sold)
        last = [(rows.order_by("-pk").values_list("pk", flat=True).first() or 0)
                for rows in (lines, notes)]  # fmt: skip
        self.effect = self.change(worker_user())
        charged = lines.filter(pk__gt=last[0]).select_related("invoice").order_by("pk")
        back = notes.filter(pk__gt=last[1]).select_related("credit_note", "invoice_line")
        self.owed_minor = sum(line.amount_minor for line in charged)
        self.owed_minor -= sum(line.amount_minor for line in back)
        zone = sold.customer.time_zone
        self.rows = (
            *(_charged(line, zone) for line in charged),
            *(_given_back(line, zone) for line in back.order_by("pk")),
        )

    def change(self, by: Any) -> SeatChange:
        """Call the service with what the form says."""
        said = self.cleaned_data
        return change_seats(
            subscription=self.subject, seats=said["seats"], effective_at=said["effective_at"],
            reason=said["reason"], key=self.key, by=by, at=now(),
        )  # fmt: skip

    def effect_words(self) -> list[tuple[str, str]]:
        """Say how many seats there are then, and what is owed for them."""
        at: datetime = self.cleaned_data["effective_at"]
        seats = seats_of(self.subject, at) + self.cleaned_data["seats"]
        currency = plan_version_at(self.subject, at).currency
        if at > now():
            owed = "told when it takes effect: by the day, for the days that are left then"
        elif self.owed_minor:
            word = "more" if self.owed_minor > 0 else "less"
            owed = f"{money_text(abs(self.owed_minor), currency)} {word}, before tax"
        else:
            owed = "nothing more"
        return [("Takes effect", moment_html(at)), ("Seats then", str(seats)),
                ("Customer owes", owed)]  # fmt: skip

    def effect_rows(self) -> list[Row]:
        """List what would be charged and given back."""
        return list(self.rows)


class CouponForm(SoldForm):
    """A coupon that lowers what the next periods claim."""

    code = forms.CharField(
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text="As the customer was given it, in capital letters.",
    )
    effect: CouponRedemption | None = None
    before: tuple[Line, ...] = ()
    after: tuple[Line, ...] = ()

    def attempt(self) -> None:
        """Redeem the coupon for show, and keep what the next period claims with it."""
        self.before = self._coming()
        self.effect = self.redeem(worker_user())
        self.after = self._coming()

    def redeem(self, by: Any) -> CouponRedemption:
        """Call the service with what the form says."""
        return redeem_coupon(
            subscription=self.subject, code=self.cleaned_data["code"], by=by, at=now()
        )

    def effect_words(self) -> list[tuple[str, str]]:
        """Say what it takes off, from when on, and of what."""
        redemption = self.effect
        assert redemption is not None, "it was tried"
        coupon = redemption.coupon
        off = f"{coupon.percent.normalize():f} %" if coupon.percent is not None else money_text(
            coupon.amount_minor or 0, coupon.currency
        )  # fmt: skip
        periods = f"{coupon.periods} periods" if coupon.periods else "as long as it goes on"
        currency = self.subject.plan_version.currency
        less = _sum(self.before) - _sum(self.after)
        return [
            ("Takes off", f"{off} of {', '.join(coupon.kinds)}"),
            ("From", moment_html(redemption.from_at)),
            ("For", periods),
            ("Next period", f"{money_text(less, currency)} less, before tax"),
        ]

    def effect_rows(self) -> list[Row]:
        """List what the next period would claim, line by line."""
        currency = self.subject.plan_version.currency
        return [
            ("Will be charged", "next period", line.description,
             money_text(line.amount_minor, currency))
            for line in self.after
        ]  # fmt: skip

    def _coming(self) -> tuple[Line, ...]:
        period = last_period(self.subject)
        return tuple(coming_lines(period, self.subject)) if period else ()


def _sum(lines: tuple[Line, ...]) -> int:
    return sum(line.amount_minor for line in lines)


def _charged(line: InvoiceLine, zone: str) -> Row:
    span = days_text(line.service_start_at, line.service_end_at, zone)
    return "Charged", span, line.description, money_text(line.amount_minor, line.invoice.currency)


def _given_back(line: CreditNoteLine, zone: str) -> Row:
    note, of = line.credit_note, line.invoice_line
    span = days_text(of.service_start_at, of.service_end_at, zone)
    return "Given back", span, note.memo, money_text(-line.amount_minor, note.currency)
