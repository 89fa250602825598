"""Pages and commands that look across all apps."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "billing_project.console"
    label = "console"
    verbose_name = "Console"
