"""Every address of the house."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", include("billing_project.console.urls")),
    path("admin/", admin.site.urls),
    path("", include("billing_project.api.urls")),
]
