"""The API of money: subscriptions, invoices with the events behind them, credit notes."""

from django.urls import path

from invoicing.api.credit_notes import (
    CreditNotePdfView,
    CreditNotePreviewView,
    CreditNotesView,
    CreditNoteView,
)
from invoicing.api.invoices import (
    InvoicePdfView,
    InvoicePreviewView,
    InvoicesView,
    InvoiceView,
    LineEventsView,
)
from invoicing.api.subscriptions import SubscriptionsView

urlpatterns = [
    path("subscriptions", SubscriptionsView.as_view()),
    path("invoices", InvoicesView.as_view()),
    path("invoices/preview", InvoicePreviewView.as_view()),
    path("invoices/<str:number>", InvoiceView.as_view()),
    path("invoices/<str:number>/pdf", InvoicePdfView.as_view()),
    path("invoices/<str:number>/lines/<int:position>/events", LineEventsView.as_view()),
    path("credit_notes", CreditNotesView.as_view()),
    path("credit_notes/preview", CreditNotePreviewView.as_view()),
    path("credit_notes/<str:number>", CreditNoteView.as_view()),
    path("credit_notes/<str:number>/pdf", CreditNotePdfView.as_view()),
]
