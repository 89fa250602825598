"""The books over HTTP: journal entries, and the reports made of them; read-only."""

from django.urls import path

from revrec.api.journal import JournalEntriesView
from revrec.api.reports import ReportPostingsView, ReportView

urlpatterns = [
    path("journal_entries", JournalEntriesView.as_view()),
    path("reports/<str:name>", ReportView.as_view()),
    path("reports/<str:name>/postings", ReportPostingsView.as_view()),
]
