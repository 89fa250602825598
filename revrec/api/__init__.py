"""The books over HTTP: journal entries, reports, and what other ledgers are given."""

from django.urls import path

from revrec.api.bases import GrantBasesView
from revrec.api.exports import (
    JournalExportFileView,
    JournalExportsView,
    JournalExportView,
)
from revrec.api.journal import JournalEntriesView
from revrec.api.packs import (
    AuditPackExportView,
    AuditPackFileView,
    AuditPacksView,
    AuditPackView,
)
from revrec.api.part_events import PartEventsView
from revrec.api.parts import EntryPartsView
from revrec.api.reports import ReportPostingsView, ReportView

urlpatterns = [
    path("grant_bases", GrantBasesView.as_view()),
    path("journal_entries", JournalEntriesView.as_view()),
    path("journal_entries/<int:entry_id>/parts", EntryPartsView.as_view()),
    path("journal_entries/<int:entry_id>/parts/<str:fact>/events", PartEventsView.as_view()),
    path("journal_exports", JournalExportsView.as_view()),
    path("journal_exports/<int:export_id>", JournalExportView.as_view()),
    path("journal_exports/<int:export_id>/file", JournalExportFileView.as_view()),
    path("audit_packs", AuditPacksView.as_view()),
    path("audit_packs/<int:pack_id>", AuditPackView.as_view()),
    path("audit_packs/<int:pack_id>/file", AuditPackFileView.as_view()),
    path("exports/audit_pack", AuditPackExportView.as_view()),
    path("reports/<str:name>", ReportView.as_view()),
    path("reports/<str:name>/postings", ReportPostingsView.as_view()),
]
