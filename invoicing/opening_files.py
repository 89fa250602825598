"""A file of opening balances as bytes, read by its source: Stripe's objects, or our CSV. Pure."""

from collections.abc import Iterable

from billing_project.kernel.errors import Invalid
from invoicing.opening import Reading, read_csv
from invoicing.opening_stripe import read_stripe

STRIPE = "stripe"


def read_file(content: bytes, source: str, plans: Iterable[str]) -> Reading:
    """Read a file of a source.

    Args:
        plans: "PRICE=CODE": which plan here a price of Stripe's is; "PRICE=-" leaves it behind.

    Raises:
        Invalid: it is not UTF-8, or a plan is named otherwise; with its field.
    """
    named = dict(_pair(text) for text in plans)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Invalid(f"line {line}: not UTF-8", field="file") from error
    return read_stripe(text, named) if source == STRIPE else read_csv(text)


def _pair(text: str) -> tuple[str, str]:
    price, sign, code = text.partition("=")
    if not sign or not price or not code:
        raise Invalid(f"{text}: say PRICE=CODE", field="plans")
    return price, code
