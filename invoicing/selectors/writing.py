"""Who writes the figures of an invoice: by its customer's locale, where they live."""

from django.conf import settings

from billing_project.kernel.locales import Formats
from invoicing.models import Invoice
from invoicing.writing import Writer
from metering.models import Customer


def writer_of(invoice: Invoice) -> Writer:
    """Return how an invoice is written: as it was when issued, a draft as its customer is now."""
    tag = invoice.locale or locale_of(invoice.customer)
    return Writer(Formats(tag), invoice.currency, invoice.customer.time_zone)


def locale_of(customer: Customer) -> str:
    """Return a customer's locale, or the installation's where they have none."""
    locale: str = customer.locale or settings.DEFAULT_LOCALE
    return locale
