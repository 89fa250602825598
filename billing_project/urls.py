"""Every address of the house."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("invoice/", include("invoicing.api.hosted")),
    path("admin/", include("billing_project.console.urls")),
    path("admin/", admin.site.urls),
    path("", include("billing_project.api.urls")),
]
