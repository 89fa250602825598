"""The site of the back office: Unfold's, less a list of all apps that no page of ours shows."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import sites
from django.http import HttpRequest
from unfold.apps import BasicAppConfig
from unfold.sites import UnfoldAdminSite


class BackOfficeSite(UnfoldAdminSite):  # type: ignore[misc]
    """Unfold's site; people find their way by the sidebar of console/navigation.py."""

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """List an app's tables for its own page; for every other page nothing is listed.

        Django lists every table with its rights and addresses for each page: a third of its time.
        """
        apps: list[dict[str, Any]] = (
            super().get_app_list(request, app_label) if app_label is not None else []
        )
        return apps


class BackOfficeConfig(BasicAppConfig):  # type: ignore[misc]
    """Unfold as the settings name it, with our site in the place of its own."""

    def ready(self) -> None:
        """Let every page be registered with our site."""
        admin.site = sites.site = BackOfficeSite()
