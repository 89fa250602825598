"""What a report is: rows of figures, each with the facts that add up to it.

Pure: selectors fill tables, pages and files show them. Amounts are integer minor units of the row's
currency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from billing_project.kernel.money import Money


@dataclass(frozen=True)
class Drill:
    """The postings behind a figure: their signed amounts, times `sign`, sum to it.

    Attributes:
        where: Lookups of postings by name; all must hold.
        in_books: Whether it is what they are worth in the currency of the books.
    """

    where: Mapping[str, object]
    sign: int = 1
    in_books: bool = False


@dataclass(frozen=True)
class Figure:
    """One amount; without a drill nothing but its row's other figures stands behind it.

    Attributes:
        instead: What is said in place of an amount that would mislead: "no rate".
    """

    amount_minor: int
    drill: Drill | None = None
    instead: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a report.

    Attributes:
        labels: What it is about, by column.
        figures: Amounts by column.
        customer_id: Whose line it is, where it is one customer's.
    """

    labels: Mapping[str, str]
    currency: str
    figures: Mapping[str, Figure]
    customer_id: int | None = None

    @property
    def key(self) -> str:
        """What names the row within its table: labels and currency."""
        return ":".join([*self.labels.values(), self.currency])

    def texts(self) -> dict[str, str]:
        """Return all cells as text, amounts in major units with the currency's decimals."""
        amounts = {
            name: figure.instead or amount_text(figure.amount_minor, self.currency)
            for name, figure in self.figures.items()
        }
        return {**self.labels, "currency": self.currency, **amounts}


@dataclass(frozen=True)
class Table:
    """A report's rows; all have the same columns.

    Attributes:
        label_names: Columns of labels, in order, also where there is no row.
        figure_names: Columns of figures, in order.
        notes: What a reader has to know about these very figures.
    """

    label_names: Sequence[str]
    figure_names: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())

    @property
    def header(self) -> list[str]:
        """All columns, as the rows' texts have them."""
        return [*self.label_names, "currency", *self.figure_names]


def amount_text(amount_minor: int, currency: str) -> str:
    """Write minor units as major ones, without the currency's name."""
    return f"{Money(amount_minor, currency).decimal:f}"
