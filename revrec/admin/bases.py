"""What credits that were given stand at in the books: proposed here, approved by finance."""

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
)

from billing_project.kernel.backoffice.actions import list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, money, number
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from billing_project.kernel.money import settle
from credits.models import CreditGrant
from revrec.models import GrantBasis
from revrec.services.bases import Alone, basis_words, propose_bonus, propose_concession

_EXPLAINED = (
    "Finance approves it; what was used of the credits until then is caught up. A basis stands for"
    " good."
)


class _GrantField(TypedIntegerField):
    """The number of a grant, read as the grant."""

    widget = UnfoldAdminIntegerFieldWidget

    def clean(self, value: Any) -> Any:
        """Find it."""
        found = CreditGrant.objects.filter(pk=super().clean(value)).first()
        if found is None:
            raise ValidationError("There is no such grant.")
        return found


class _BasisForm(ActionForm):
    grant = _GrantField(min_value=1, help_text="Number of the grant that has no price.")
    evidence = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="What the amount rests on, for an auditor to read.",
    )


class ConcessionForm(_BasisForm):
    """What goodwill takes off revenue."""

    concession = TypedDecimalField(
        min_value=0, max_digits=24, decimal_places=3, widget=UnfoldAdminDecimalFieldWidget,
        help_text="In the customer's currency, in major units.",
    )  # fmt: skip


def _share(label: str, text: str = "") -> TypedDecimalField:
    return TypedDecimalField(
        label=label, min_value=0, max_digits=24, decimal_places=12, help_text=text,
        widget=UnfoldAdminDecimalFieldWidget,
    )  # fmt: skip


class BonusForm(_BasisForm):
    """Which purchase a bonus came with, and what both would cost alone."""

    purchase = _GrantField(min_value=1, help_text="Number of the grant that was paid for.")
    ssp = _share("Price of a bonus credit alone", "In major units.")
    likelihood = _share("Share of the bonus that will be used", "0.5 for half.")
    purchase_ssp = _share("Price of a paid credit alone")
    purchase_likelihood = _share("Share of the paid credits that will be used")


@admin.register(GrantBasis)
class GrantBasisAdmin(ReadOnlyAdmin):
    """Concessions made in credits, and bonuses that share the price of their purchase."""

    list_display = (
        "__str__",
        link("grant"),
        "cause",
        money("price_minor", "basis"),
        link("purchase"),
        "status",
        link("policy_change"),
    )
    list_filter = ("cause", "currency", "policy_change__status")
    list_select_related = ("policy_change", "grant", "purchase")
    search_fields = ("policy_change__subject",)
    search_help_text = "The policy change's subject"
    fields: ClassVar[tuple[Any, ...] | None] = (
        link("grant"),
        ("cause", money("price_minor", "basis")),
        link("purchase"),
        (number("ssp"), number("likelihood")),
        (number("purchase_ssp"), number("purchase_likelihood")),
        "evidence",
        ("status", link("policy_change")),
    )

    actions_list = ("concede", "share")

    @list_action(
        "Propose concession",
        permission="kernel.propose_policychange",
        form=ConcessionForm,
        explanation=f"Goodwill lowers revenue when it is given. {_EXPLAINED}",
    )
    def concede(self, by: User, form: ConcessionForm) -> tuple[GrantBasis, str]:
        """Propose what goodwill takes off revenue."""
        said = form.cleaned_data
        grant: CreditGrant = said["grant"]
        made = propose_concession(
            grant=grant, price_minor=settle(said["concession"], grant.currency),
            evidence=said["evidence"], by=by, at=now(),
            proposal=basis_words(f"Concession by grant {grant.pk}", said["evidence"], now()),
        )  # fmt: skip
        return made, f"Proposed {made}; it waits for approval"

    @list_action(
        "Propose bonus",
        permission="kernel.propose_policychange",
        form=BonusForm,
        explanation=f"A bonus shares the price of its purchase. {_EXPLAINED}",
    )
    def share(self, by: User, form: BonusForm) -> tuple[GrantBasis, str]:
        """Propose which share of a purchase's price its bonus takes."""
        said = form.cleaned_data
        ssp: Decimal = said["ssp"]
        made = propose_bonus(
            grant=said["grant"], purchase=said["purchase"],
            alone=Alone(ssp, said["likelihood"]),
            purchase_alone=Alone(said["purchase_ssp"], said["purchase_likelihood"]),
            evidence=said["evidence"], by=by, at=now(),
            proposal=basis_words(f"Bonus of grant {said['purchase'].pk}", said["evidence"], now()),
        )  # fmt: skip
        return made, f"Proposed {made}; it waits for approval"

    @admin.display(description="Status")
    def status(self, basis: GrantBasis) -> str:
        """Show the decision on it."""
        return badge_html(basis.policy_change.status, POLICY_TONES[basis.policy_change.status])
