"""Who an external id names."""

from collections.abc import Iterable

from billing_project.kernel.errors import NotFound
from metering.models import Customer, CustomerAlias


def customer_ids(external_ids: Iterable[str]) -> dict[str, int]:
    """Return customers' ids by the external ids and aliases that are known."""
    names = set(external_ids)
    own = Customer.objects.filter(external_id__in=names).values_list("external_id", "id")
    aliases = CustomerAlias.objects.filter(external_id__in=names)
    return dict(own.order_by().union(aliases.values_list("external_id", "customer_id"), all=True))


def customer_named(external_id: str) -> Customer:
    """Return the customer of an external id or alias.

    Raises:
        NotFound: nobody is called so.
    """
    customer_id = customer_ids([external_id]).get(external_id)
    if customer_id is None:
        raise NotFound(f"no customer is called {external_id}", code="unknown_customer")
    return Customer.objects.get(pk=customer_id)
