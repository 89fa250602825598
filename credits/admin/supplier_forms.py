"""A price list as text, and the prices of it that differ: what finance approves."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing_project.kernel.backoffice.proposing import ProposalForm
from billing_project.kernel.models import PolicyChange, User
from credits.services.supplier_rates import propose_supplier_rates
from credits.supplier_prices import UnreadablePrices, read_price_list


class PriceListForm(ProposalForm):
    """A list in the form of LiteLLM's price map; only what differs is proposed."""

    source = forms.CharField(
        max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Where the list comes from."
    )
    currency = forms.CharField(initial="USD", max_length=3, widget=UnfoldAdminTextInputWidget)
    rates = forms.CharField(
        label="Price list",
        max_length=5_000_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "class": "bo-sheet"}),
        help_text='JSON: {"model": {"litellm_provider": "acme", "input_cost_per_token": 5e-06}}.'
        " What is not priced by the token is left out.",
    )

    def clean_rates(self) -> Any:
        """Read the list."""
        try:
            return read_price_list(self.cleaned_data["rates"]).prices
        except UnreadablePrices as error:
            raise ValidationError(f"{error}.") from error

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose what differs."""
        said = self.cleaned_data
        return propose_supplier_rates(
            prices=said["rates"], currency=said["currency"], source=said["source"],
            proposal=self.proposal(), by=by, at=at,
        ).policy_change  # fmt: skip
