"""Run every benchmark: `python -m benchmarks [name ...]`."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
os.environ["EMBEDDED_PG_NAME"] = "billing_bench"


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all."""
    import django

    django.setup()
    from benchmarks import aggregation, capture, latency

    known = {"capture": capture.run, "aggregation": aggregation.run, "latency": latency.run}
    for name in names or list(known):
        known[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
