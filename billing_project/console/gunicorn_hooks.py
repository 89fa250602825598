"""What gunicorn does in each worker of the HTTP server."""

import gc
import sys

# A batch makes ten thousand objects that live for its 20 ms and refer to nothing that refers back:
# looking for cycles among them every 700 costs a tenth of the time and finds nothing.
_THRESHOLDS = (50_000, 20, 20)
# Threads that wait for PostgreSQL come back often; being made to yield to each of them after 5 ms
# costs more in switches than the wait of one batch's 20 ms.
_SWITCH_SECONDS = 0.02


def post_worker_init(worker: object) -> None:
    """Leave what was loaded at the start out of every later look for cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_SECONDS)
