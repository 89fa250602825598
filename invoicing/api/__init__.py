"""The API of money: subscriptions, invoices with the events behind them, credit notes."""

from django.urls import path

from invoicing.api import recharges
from invoicing.api.backfills import (
    BackfillApplyView,
    BackfillDiscardView,
    BackfillEventsView,
    BackfillFaultsView,
    BackfillPreviewView,
    BackfillRevertView,
    BackfillSubmitView,
    BackfillsView,
    BackfillView,
)
from invoicing.api.changes import (
    CancelView,
    ChangePreviewView,
    PauseView,
    PlanChangeView,
    ResumeView,
    SubscriptionChangesView,
    SubscriptionView,
    UndoChangeView,
)
from invoicing.api.commitments import CommitmentsView
from invoicing.api.credit_notes import (
    CreditNotePdfView,
    CreditNotePreviewView,
    CreditNotesView,
    CreditNoteView,
    CreditNoteVoidView,
)
from invoicing.api.endings import InvoiceVoidView, InvoiceWriteOffView
from invoicing.api.entities import (
    CustomerAddressView,
    CustomerEntityView,
    CustomerSplitView,
    EntitiesView,
)
from invoicing.api.invoices import (
    InvoicePdfView,
    InvoicePreviewView,
    InvoicesView,
    InvoiceView,
    LineEventsView,
)
from invoicing.api.mails import InvoiceLinkView, InvoiceMailsView
from invoicing.api.payment_methods import PaymentMethodSessionsView
from invoicing.api.proposed_notes import CreditNoteProposalsView
from invoicing.api.sold import (
    CouponsView,
    OutcomeDecisionsView,
    OutcomesView,
    PacksView,
    SeatsView,
)
from invoicing.api.subscriptions import SubscriptionsView
from invoicing.api.tax_ids import TaxIdsView

urlpatterns = [
    *recharges.urlpatterns,
    path("subscriptions", SubscriptionsView.as_view()),
    path("payment_method_sessions", PaymentMethodSessionsView.as_view()),
    path("subscriptions/<int:subscription_id>/seats", SeatsView.as_view()),
    path("subscriptions/<int:subscription_id>/coupons", CouponsView.as_view()),
    path("subscriptions/<int:subscription_id>/packs", PacksView.as_view()),
    path("commitments", CommitmentsView.as_view()),
    path("outcomes", OutcomesView.as_view()),
    path("outcomes/<int:outcome_id>/decisions", OutcomeDecisionsView.as_view()),
    path("subscriptions/<int:subscription_id>", SubscriptionView.as_view()),
    path("subscriptions/<int:subscription_id>/changes", SubscriptionChangesView.as_view()),
    path("subscriptions/<int:subscription_id>/change", PlanChangeView.as_view()),
    path("subscriptions/<int:subscription_id>/pause", PauseView.as_view()),
    path("subscriptions/<int:subscription_id>/resume", ResumeView.as_view()),
    path("subscriptions/<int:subscription_id>/cancel", CancelView.as_view()),
    path("subscriptions/<int:subscription_id>/preview", ChangePreviewView.as_view()),
    path(
        "subscriptions/<int:subscription_id>/changes/<int:change_id>/undo",
        UndoChangeView.as_view(),
    ),
    path("invoices", InvoicesView.as_view()),
    path("invoices/preview", InvoicePreviewView.as_view()),
    path("invoices/<str:number>", InvoiceView.as_view()),
    path("invoices/<str:number>/void", InvoiceVoidView.as_view()),
    path("invoices/<str:number>/write_off", InvoiceWriteOffView.as_view()),
    path("invoices/<str:number>/pdf", InvoicePdfView.as_view()),
    path("invoices/<str:number>/mails", InvoiceMailsView.as_view()),
    path("invoices/<str:number>/link", InvoiceLinkView.as_view()),
    path("invoices/<str:number>/lines/<int:position>/events", LineEventsView.as_view()),
    path("entities", EntitiesView.as_view()),
    path("customers/<path:external_id>/address", CustomerAddressView.as_view()),
    path("customers/<path:external_id>/entity", CustomerEntityView.as_view()),
    path("customers/<path:external_id>/invoice_split", CustomerSplitView.as_view()),
    path("tax_ids", TaxIdsView.as_view()),
    path("backfills", BackfillsView.as_view()),
    path("backfills/<int:backfill_id>", BackfillView.as_view()),
    path("backfills/<int:backfill_id>/events", BackfillEventsView.as_view()),
    path("backfills/<int:backfill_id>/faults", BackfillFaultsView.as_view()),
    path("backfills/<int:backfill_id>/preview", BackfillPreviewView.as_view()),
    path("backfills/<int:backfill_id>/submit", BackfillSubmitView.as_view()),
    path("backfills/<int:backfill_id>/apply", BackfillApplyView.as_view()),
    path("backfills/<int:backfill_id>/revert", BackfillRevertView.as_view()),
    path("backfills/<int:backfill_id>/discard", BackfillDiscardView.as_view()),
    path("credit_notes", CreditNotesView.as_view()),
    path("credit_notes/preview", CreditNotePreviewView.as_view()),
    path("credit_notes/proposals", CreditNoteProposalsView.as_view()),
    path("credit_notes/<str:number>", CreditNoteView.as_view()),
    path("credit_notes/<str:number>/pdf", CreditNotePdfView.as_view()),
    path("credit_notes/<str:number>/void", CreditNoteVoidView.as_view()),
]
