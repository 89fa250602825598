"""Every address of the API: what the apps serve, under /v1; and what runs the processes."""

from django.urls import include, path
from drf_spectacular.views import SpectacularSwaggerView

import credits.api
import invoicing.api
import metering.api
import revrec.api
from billing_project.api import balance, health, schema, webhooks
from billing_project.api.customers import WholeCustomerView
from billing_project.api.event_costs import EventCostsView
from billing_project.api.explanations import EventExplanationsView
from billing_project.api.exports import EXPORTS, FieldsView
from billing_project.api.near_duplicates import NearDuplicatesView
from billing_project.api.policies import PoliciesView
from billing_project.api.scenarios import ScenariosView, ScenarioView
from billing_project.api.stripe_webhook import stripe_webhook
from billing_project.api.trace import EventView, TraceView

v1 = [
    *metering.api.urlpatterns,
    *balance.urlpatterns,
    *credits.api.urlpatterns,
    *invoicing.api.urlpatterns,
    *revrec.api.urlpatterns,
    path("customers/<str:external_id>", WholeCustomerView.as_view()),
    path("events/<str:customer>/<path:identifier>", EventView.as_view()),
    *(path(f"exports/{view.name}", view.as_view()) for view in EXPORTS),
    path("exports/fields", FieldsView.as_view()),
    path("event_costs", EventCostsView.as_view()),
    path("event_explanations", EventExplanationsView.as_view()),
    path("near_duplicates", NearDuplicatesView.as_view()),
    path("policies", PoliciesView.as_view()),
    path("scenarios", ScenariosView.as_view()),
    path("scenarios/<int:scenario_id>", ScenarioView.as_view()),
    *webhooks.urlpatterns,
    path("trace", TraceView.as_view()),
    path("openapi.json", schema.openapi, name="openapi"),
    path("docs", SpectacularSwaggerView.as_view(url_name="openapi"), name="docs"),
]
urlpatterns = [
    path("v1/", include(v1)),
    path("stripe/webhook", stripe_webhook),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics_page),
]
