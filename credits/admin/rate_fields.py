"""Fields of rates and customers, and the editor of rates: rows, a sheet, or an uploaded file."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing_project.kernel.backoffice.proposing import ProposalForm
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.users import worker_user
from credits.models import PricingModel
from credits.rate_sheet import COLUMNS, BadSheet, SheetRate, read_sheet
from credits.services.rates import RateInput, rates_of_content
from metering.models import Customer
from metering.selectors.meters import dimensions_by_code

_RATE = re.compile(r"rates\[(\d+)\]\.?(.*)")
_LARGEST_FILE = 1024 * 1024
_MOST_FAULTS = 20  # Shown at once.
_SHEET_HELP = (
    "One rate a line: meter, dimensions (model=gpt-5.4; job=batch), pricing model (per_unit,"
    " package, graduated, volume, flat_fee, percentage), price (10 per 1000 for a package), tiers"
    " (1000: 0.5; *: 0.2 + 3, where the last one is open and + is a fee), included, minimum,"
    " maximum, pools (workspace or account), matrix."
)


class CustomersField(forms.CharField):
    """External ids, one a line or with commas between; cleans to customers."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextareaWidget(attrs={"rows": 3}))
        super().__init__(**kwargs)

    def clean(self, value: Any) -> Any:
        """Find the customers; name whom nobody knows."""
        names = [name for name in re.split(r"[\s,;]+", super().clean(value)) if name]
        found = {one.external_id: one for one in Customer.objects.filter(external_id__in=names)}
        if unknown := [name for name in names if name not in found]:
            raise ValidationError(f"No customer has the external id {', '.join(unknown[:5])}.")
        return [found[name] for name in dict.fromkeys(names)]


class CustomerField(CustomersField):
    """An external id; cleans to its customer, None where nothing is said."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminTextInputWidget, **kwargs)

    def clean(self, value: Any) -> Any:
        """Find the one customer."""
        found = super().clean(value)
        if len(found) > 1:
            raise ValidationError("This is of one customer.")
        return found[0] if found else None


class RatesField(forms.CharField):
    """A sheet of rates; cleans to its lines."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"rows": 14, "wrap": "off", "spellcheck": "false", "class": "bo-sheet"}
        super().__init__(
            label="Rates", help_text=_SHEET_HELP,
            widget=UnfoldAdminTextareaWidget(attrs=attrs), **kwargs,
        )  # fmt: skip

    def clean(self, value: Any) -> Any:
        """Read the lines."""
        try:
            return read_sheet(super().clean(value))
        except BadSheet as error:
            place = {"line": error.line, "column": error.column}
            raise ValidationError(str(error), params=place) from error


@dataclass(frozen=True)
class RateFault:
    """What is wrong with one rate: its line, the column if that is known, and why."""

    line: int
    column: str
    message: str


class RatesForm(ProposalForm):
    """The base of forms with rates: edited as rows, as a sheet, or uploaded as a file."""

    before_template = "backoffice/rate_editor.html"
    table_fields = ("rates", "rates_file")
    rates = RatesField()
    rates_file = forms.FileField(
        label="Upload a CSV file", required=False,
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv,text/plain"}),
        help_text="It takes the place of the rates above. Send the form to see them, then confirm.",
    )  # fmt: skip

    def __init__(self, data: Any = None, files: Any = None, **kwargs: Any) -> None:
        self.faults: list[RateFault] = []
        self.sheet: Sequence[SheetRate] = ()
        self._file_fault = ""
        uploaded = files.get("rates_file") if files else None
        if data is not None and uploaded is not None:
            data = self._with_file(data.copy(), uploaded)
        super().__init__(data, files, **kwargs)
        self.meters = dimensions_by_code()

    def clean_rates(self) -> Sequence[SheetRate]:
        """Keep the lines, which a refusal would take away."""
        self.sheet = self.cleaned_data["rates"]
        return self.sheet

    def clean_rates_file(self) -> None:
        """Say why a file could not be read."""
        if self._file_fault:
            raise ValidationError(self._file_fault)

    def clean(self) -> dict[str, Any]:
        """Find what is wrong with each rate, not only with the first of them."""
        cleaned = super().clean()
        for error in self.errors.as_data().get("rates", []):
            if error.params:
                fault = RateFault(error.params["line"], error.params["column"], str(error.message))
                self.faults.append(fault)
        if self.sheet and self.faults:
            self._find_more()
        return cleaned

    def sealed(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Leave out on which line of the sheet a rate stands: the editor writes its own."""
        rates = [one.content for one in cleaned["rates"]]
        return {**super().sealed(cleaned), "rates": rates}

    def place(self, error: BillingError) -> tuple[str | None, str]:
        """Say at which field, and on which line of a sheet, a service found fault."""
        return self._of_rate(error) or super().place(error)

    def rate_inputs(self) -> list[RateInput]:
        """Return the sheet's rates as services take them."""
        return rates_of_content({"rates": [one.content for one in self.sheet]})

    @property
    def rate_faults(self) -> list[dict[str, Any]]:
        """List the faults for the editor, which shows each beside its cell."""
        return [asdict(fault) for fault in self.faults]

    @property
    def meter_codes(self) -> list[str]:
        """List the meters that a rate may be of."""
        return sorted(self.meters)

    @property
    def meter_codes_json(self) -> str:
        """Write the meters for the editor's script."""
        return json.dumps(self.meter_codes)

    @property
    def pricing_models(self) -> list[tuple[str, str]]:
        """List the pricing models."""
        return [(code, str(name)) for code, name in PricingModel.choices]

    def _with_file(self, data: Any, uploaded: "UploadedFile[Any]") -> Any:
        """Put a file in the place of the rates; what nobody has looked at is not confirmed."""
        data.pop("confirmed", None)
        if (uploaded.size or 0) > _LARGEST_FILE:
            self._file_fault = "A file of rates has at most 1 MiB."
            return data
        try:
            data["rates"] = uploaded.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            self._file_fault = "The file is no text in UTF-8: save it as CSV (UTF-8)."
        return data

    def _of_rate(self, error: BillingError) -> tuple[str, str] | None:
        at_fault = _RATE.match(error.field)
        if at_fault is None:
            return None
        line, field = self.sheet[int(at_fault[1])].line, at_fault[2]
        message = error.message.removeprefix(f"{error.field}: ")
        self.faults.append(RateFault(line, _column_of(field), message))
        return "rates", f"line {line}, {field or 'rate'}: {message}"

    def _find_more(self) -> None:
        """Try again without the rates that are wrong, until the rest is right."""
        everything = self.sheet
        while len(self.faults) < _MOST_FAULTS:
            wrong = {fault.line for fault in self.faults}
            self.sheet = [one for one in everything if one.line not in wrong]
            fault = self._first_fault() if self.sheet else None
            if fault is None:
                break
            self.add_error(*fault)
        self.sheet = everything

    def _first_fault(self) -> tuple[str, str] | None:
        try:
            with transaction.atomic():
                self.propose(by=worker_user(), at=now())
                transaction.set_rollback(True)
        except BillingError as error:
            return self._of_rate(error)
        return None


def _column_of(field: str) -> str:
    """Return the column of the sheet that says a field of a rate."""
    name, _, rest = field.partition(".")
    if name == "terms":
        term = re.split(r"[.\[]", rest)[0]
        return term if term in COLUMNS else "price"
    return {"meter_code": "meter", "unit_price": "price"}.get(name, name)
