"""Numbers that people and apps write: what Python reads beyond that is refused everywhere."""

import ast
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from django import forms

from billing_project.kernel.backoffice.forms import AmountField, CreditsField
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.content import decimal_or_none_in
from billing_project.kernel.errors import Invalid
from billing_project.kernel.quantity import NotAQuantity, parse_quantity, typed_number
from billing_project.kernel.rest.fields import IntegerField, QuantityField
from credits.rate_rows import decimal_of
from credits.terms import BadTerms

ROOT = Path(__file__).parents[2]
APPS = ("billing_project", "metering", "credits", "invoicing", "revrec")
NOT_WRITTEN = (
    "1_000", "\uff11\uff10\uff10\uff10", "\u0661\u0662", "1e3", "1E3", "NaN", "sNaN", "Infinity",
    "-inf", "1,000", "1.2.3", "0x10", "5 5", "\u00bd", "--5", ".",
)  # fmt: skip


@pytest.mark.parametrize("text", NOT_WRITTEN)
def test_what_nobody_writes_is_no_number_anywhere(text: str) -> None:
    for read in (typed_number, parse_quantity):
        with pytest.raises(NotAQuantity):
            read(text)
    fields: tuple[forms.Field, ...] = (
        TypedDecimalField(max_digits=36, decimal_places=12), AmountField(currency="USD"),
        AmountField(currency="JPY"), CreditsField(), TypedIntegerField(),
    )  # fmt: skip
    for field in fields:
        with pytest.raises(forms.ValidationError):
            field.clean(text)
    for api in (QuantityField(), IntegerField()):
        with pytest.raises(Exception, match=r"number|integer"):
            api.run_validation(text)
    with pytest.raises(Invalid):
        decimal_or_none_in({"rate": text}, "rate")
    with pytest.raises(BadTerms):
        decimal_of("rates[0]", {"unit_price": text}, "unit_price")


@pytest.mark.parametrize(
    ("text", "expected"), [(" 5 ", "5"), ("5.", "5"), (".5", "0.5"), ("+007.50", "7.5")]
)
def test_what_a_person_types_is_read(text: str, expected: str) -> None:
    assert typed_number(text) == Decimal(expected)
    assert TypedDecimalField(max_digits=36, decimal_places=12).clean(text) == Decimal(expected)


def test_amounts_become_minor_units_of_their_currency() -> None:
    read = {code: AmountField(currency=code).clean("1250") for code in ("USD", "JPY", "KWD")}

    assert read == {"USD": 125_000, "JPY": 1_250, "KWD": 1_250_000}
    assert AmountField(currency="KWD").clean(" 0.005 ") == 5
    for code, text in (("JPY", "0.5"), ("USD", "0.005"), ("KWD", "0.0005")):
        with pytest.raises(forms.ValidationError, match="decimals"):
            AmountField(currency=code).clean(text)


def _inputs() -> Iterator[tuple[Path, ast.ClassDef]]:
    for app in APPS:
        for path in (ROOT / app).rglob("api*/**/*.py"):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and re.search("(Input|Query)$", node.name):
                    yield path, node


def test_every_field_for_a_number_reads_by_the_kernels_rule() -> None:
    bare = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path, node in _inputs()
        for call in ast.walk(node)
        if isinstance(call, ast.Attribute)
        and call.attr in {"IntegerField", "DecimalField", "FloatField"}
    ]
    typed = re.compile(r"\bforms\.(Integer|Decimal|Float)Field\(")
    for app in APPS:
        bare += [
            str(path.relative_to(ROOT))
            for path in (ROOT / app).rglob("*.py")
            if "migrations" not in path.parts and typed.search(path.read_text())
        ]

    assert len(list(_inputs())) > 20
    assert bare == []
