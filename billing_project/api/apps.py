"""The native REST API, v1."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "billing_project.api"
    label = "api"
    verbose_name = "API"
