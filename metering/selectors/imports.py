"""The lines of an import that were not plainly accepted, as a file to mend and send again."""

import csv
import io
from collections.abc import Iterator

import msgspec

from billing_project.kernel.exporting import safe_cell
from metering.imports import FileFormat
from metering.models import ImportedLine, ImportRun

_COLUMNS = ("line", "identifier", "status", "code", "detail", "content")


def lines_file(run: ImportRun, kind: FileFormat) -> Iterator[bytes]:
    """Write a run's lines in the order of the file, one by one.

    Columns: line, identifier, status, code, detail, content (the line as it came; in a CSV, what a
    spreadsheet would run as a formula is made text).
    """
    rows = run.lines.order_by("line").values_list(*_COLUMNS).iterator(2000)
    if kind == FileFormat.CSV:
        yield _csv_row(_COLUMNS)
        for row in rows:
            yield _csv_row(row)
        return
    for row in rows:
        yield msgspec.json.encode(dict(zip(_COLUMNS, row, strict=True))) + b"\n"


def has_lines(run: ImportRun) -> bool:
    """Tell whether any line was not plainly accepted."""
    return ImportedLine.objects.filter(run=run).exists()


def _csv_row(row: tuple[object, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([safe_cell(str(cell)) for cell in row])
    return text.getvalue().encode()
