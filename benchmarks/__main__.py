"""Run every benchmark: `python -m benchmarks [name ...]`."""

import os
import sys
from importlib import import_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
os.environ["EMBEDDED_PG_NAME"] = "billing_bench"
NAMES = (
    "capture",
    "singles",
    "stored",
    "aggregation",
    "latency",
    "rating",
    "rerate",
    "whatif",
    "balance",
    "authorizations",
    "anomalies",
    "verify",
    "close",
    "trace",
    "backfill",
    "invoices",
    "lists",
)


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all."""
    import django

    django.setup()
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"no benchmark is called {', '.join(unknown)}; known: {', '.join(NAMES)}")
    for name in names or NAMES:
        print(f"\n{name}")
        import_module(f"benchmarks.{name}").run()


if __name__ == "__main__":
    main(sys.argv[1:])
