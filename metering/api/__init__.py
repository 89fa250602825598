"""Metering over HTTP: set-up, usage in, quantities out.

The roof serves single customers, with what other apps know of them.
"""

from django.urls import path

from metering.api.adjustments import EventAdjustmentsView
from metering.api.customers import CustomersView, WorkspacesView
from metering.api.events import EventsView
from metering.api.exports import UnmatchedExportView
from metering.api.meters import (
    MeterDeactivationView,
    MeterReactivationView,
    MetersView,
    MeterVersionPreviewView,
    MeterVersionsView,
    MeterVersionWithdrawalView,
)
from metering.api.quarantine import (
    QuarantineDismissView,
    QuarantineGroupsView,
    QuarantineMapView,
    QuarantineReplayView,
    QuarantineView,
)
from metering.api.usage import UsageView

urlpatterns = [
    path("events", EventsView.as_view()),  # First: by far the most are for it.
    path("customers", CustomersView.as_view()),
    path("workspaces", WorkspacesView.as_view()),
    path("meters", MetersView.as_view()),
    path("meters/<str:code>/deactivate", MeterDeactivationView.as_view()),
    path("meters/<str:code>/reactivate", MeterReactivationView.as_view()),
    path("meters/<str:code>/versions", MeterVersionsView.as_view()),
    path("meters/<str:code>/versions/preview", MeterVersionPreviewView.as_view()),
    path("meters/<str:code>/versions/<int:number>/withdraw", MeterVersionWithdrawalView.as_view()),
    path("event_adjustments", EventAdjustmentsView.as_view()),
    path("usage", UsageView.as_view()),
    path("exports/unmatched", UnmatchedExportView.as_view()),
    path("quarantine", QuarantineView.as_view()),
    path("quarantine/groups", QuarantineGroupsView.as_view()),
    path("quarantine/dismiss", QuarantineDismissView.as_view()),
    path("quarantine/map", QuarantineMapView.as_view()),
    path("quarantine/replay", QuarantineReplayView.as_view()),
]
