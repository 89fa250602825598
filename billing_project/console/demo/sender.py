"""An app that reports usage: batches over HTTP to the running server."""

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

BATCH = 1_000
COUNTS = ("accepted", "duplicates", "conflicts", "quarantined", "rejected")


def send_events(
    url: str, key: str, events: Iterable[dict[str, object]], progress: Callable[[int], None]
) -> Counter[str]:
    """Send events in batches and add up the answers; `sent` counts what left.

    Raises:
        urllib.error.HTTPError: the server refused a whole batch, which it never should.
    """
    totals: Counter[str] = Counter(dict.fromkeys(("sent", *COUNTS), 0))
    for batch in _batches(events):
        answer = _post(f"{url}/v1/events", key, {"events": batch})
        totals["sent"] += len(batch)
        for name in COUNTS:
            totals[name] += answer[name]
        progress(len(batch))
    return totals


def _batches(events: Iterable[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    rest = iter(events)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _post(url: str, key: str, body: object) -> dict[str, int]:
    request = urllib.request.Request(  # noqa: S310 - the demo's own server
        url,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        answer: dict[str, int] = json.load(response)
        return answer
