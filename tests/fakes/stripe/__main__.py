"""Run the fake: `python -m tests.fakes.stripe --port 12111 --webhook http://.../stripe/webhook`."""

import argparse
import os
import sys
import threading
import time

from tests.fakes.stripe.server import FakeStripe


def main() -> None:
    """Serve until the process ends; the address is the first line of the output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--webhook", default="", help="where events are delivered; none: by hand")
    asked = parser.parse_args()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    server = FakeStripe(asked.port, asked.webhook)
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.serve_forever()


def _end_with(parent: int) -> None:
    """End with whoever started this: a test run that is killed leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


main()
