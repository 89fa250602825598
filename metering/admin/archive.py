"""Months of raw events that were moved to files."""

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, document, link, moment, number
from metering.models import ArchivedMonth


@admin.register(ArchivedMonth)
class ArchivedMonthAdmin(ReadOnlyAdmin):
    """Which months left the database, where to, and by what the books prove them."""

    list_display = (
        "__str__",
        "place",
        number("event_count", "events"),
        "file_name",
        number("file_bytes", "bytes"),
        link("archived_by"),
        moment("archived_at"),
    )
    list_select_related = ("archived_by", "restored_by")
    fields = (
        "start_at",
        "end_at",
        "place",
        number("event_count", "events"),
        "file_name",
        "file_sha256",
        number("file_bytes", "bytes"),
        link("archived_by"),
        "archived_at",
        "dropped_at",
        link("restored_by"),
        "restored_at",
        document("manifest"),
    )

    def note(self) -> str:
        """Say how a month comes here."""
        return (
            "Months of raw events leave by manage.py archive_events and come back by"
            " manage.py restore_events; meanwhile single events are read out of the files."
        )

    @admin.display(description="Place")
    def place(self, month: ArchivedMonth) -> str:
        """Say where the month's events are."""
        if month.restored_at is not None:
            return badge_html("restored")
        if month.dropped_at is not None:
            return badge_html("file", "info")
        return badge_html("file and detached table", "info")
