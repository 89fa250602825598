"""For whoever runs the processes: is this one alive, may it take traffic, what does it count."""

from functools import cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from billing_project.api import metrics
from billing_project.kernel import clock
from billing_project.kernel.embedded.server import EmbeddedServerError
from billing_project.kernel.quantity import plain
from billing_project.kernel.rest.errors import PROBLEM_TYPE, RETRY_SECONDS, problem
from metering.selectors.lag import aggregation_state
from revrec.services.anchoring import older_state


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer while the process lives; a database that is down is no reason to restart it."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 once the database is reachable and every migration is applied."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        missing = _missing_migrations()
        state = {} if missing else {**_freshness(), **_books()}
    except (DatabaseError, InterfaceError, EmbeddedServerError):
        return _not_ready("database_down", "the database does not answer")
    if missing:
        return _not_ready("migrations_missing", f"{missing} migrations are not applied")
    return JsonResponse({"status": "ready", **state})


@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """Answer a Prometheus scrape."""
    return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _freshness() -> dict[str, object]:
    """Tell how far usage is counted; a lag takes no server out of traffic: capture goes on."""
    state = aggregation_state(clock.now())
    return {
        "aggregation_lag_seconds": plain(state.lag_seconds),
        "is_lagging": state.lag_seconds > settings.AGGREGATION_LAG_LIMIT_SECONDS,
    }


def _books() -> dict[str, object]:
    """Tell whether the books are posted to; capture goes on where they are not."""
    told = older_state()
    return {"books": "older_state", "books_detail": told} if told else {"books": "open"}


def _missing_migrations() -> int:
    try:
        return _check_migrations()
    except _MigrationsMissing as error:
        return error.count


class _MigrationsMissing(Exception):
    def __init__(self, count: int) -> None:
        self.count = count


@cache  # Only success is remembered: what was applied stays applied while this process runs.
def _check_migrations() -> int:
    executor = MigrationExecutor(connection)
    if missing := len(executor.migration_plan(executor.loader.graph.leaf_nodes())):
        raise _MigrationsMissing(missing)
    return 0


def _not_ready(code: str, detail: str) -> HttpResponse:
    response = JsonResponse(problem(503, code, detail), status=503, content_type=PROBLEM_TYPE)
    response["Retry-After"] = str(RETRY_SECONDS)
    return response
