"""Show how far a long command is: what it is at, and how many rows it has done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def counting(verb: str) -> Iterator[Callable[[str, int], None]]:
    """Yield what is told of each step: its name, and how many rows more."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description} {task.fields[name]}"),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(verb, total=None, name="")
        yield lambda name, rows: progress.update(task, advance=rows, name=name)
