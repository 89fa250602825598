"""Call the WSGI application as a server does."""

import io
import json
from collections.abc import Callable
from typing import Any

from django.core.wsgi import get_wsgi_application

from billing_project.api.door import Door

Answer = tuple[int, dict[str, str], Any]


class Sender:
    """Calls a WSGI application as a server does, and counts who took the long way."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.long_ways = 0
        django = get_wsgi_application()

        def long_way(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            self.long_ways += 1
            return django(environ, start_response)

        self.door, self.long_way = Door(long_way), long_way

    def ask(self, path: str, *, is_short: bool = True, **changes: Any) -> Answer:
        """GET; return status, headers and the decoded answer."""
        asking = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "CONTENT_LENGTH": ""}
        return self.send(b"", is_short=is_short, **{**asking, **changes})

    def send(self, body: bytes, *, is_short: bool = True, **changes: Any) -> Answer:
        """Return status, headers and the decoded answer."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/v1/events", "QUERY_STRING": "",
            "SERVER_NAME": "testserver", "SERVER_PORT": "80", "HTTP_HOST": "testserver",
            "SERVER_PROTOCOL": "HTTP/1.1", "SCRIPT_NAME": "", "wsgi.url_scheme": "http",
            "wsgi.errors": io.StringIO(), "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json",
            "HTTP_AUTHORIZATION": f"Bearer {self.token}", **changes,
        }  # fmt: skip
        started: list[tuple[str, list[tuple[str, str]]]] = []
        application = self.door if is_short else self.long_way
        answer = b"".join(application(environ, lambda status, head: started.append((status, head))))
        status, head = started[0]
        return int(status[:3]), dict(head), json.loads(answer)
