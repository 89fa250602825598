"""Every address of the API: what the apps serve, under /v1; and what runs the processes."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from django.urls import URLPattern, include, path
from drf_spectacular.views import SpectacularSwaggerView

from billing_project.api import health, schema
from billing_project.api.trace import EventView, TraceView

_APPS = ("metering", "credits", "invoicing", "revrec")


def _app_patterns() -> Iterator[URLPattern]:
    for app in _APPS:
        if find_spec(f"{app}.api") is not None:
            yield from getattr(import_module(f"{app}.api"), "urlpatterns", [])


v1 = [
    *_app_patterns(),
    path("events/<str:customer>/<path:identifier>", EventView.as_view()),
    path("trace", TraceView.as_view()),
    path("openapi.json", schema.openapi, name="openapi"),
    path("docs", SpectacularSwaggerView.as_view(url_name="openapi"), name="docs"),
]
urlpatterns = [
    path("v1/", include(v1)),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics_page),
]
