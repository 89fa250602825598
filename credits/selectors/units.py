"""Find what prices and credits are quoted in."""

from billing_project.kernel.errors import NotFound
from credits.models import PricingUnit


def pricing_unit_named(code: str, field: str = "unit") -> PricingUnit:
    """Return the pricing unit of a code.

    Args:
        field: Where the caller named it, as the error says it.

    Raises:
        NotFound: none has it.
    """
    unit = PricingUnit.objects.filter(code=code).first()
    if unit is None:
        raise NotFound(f"no pricing unit has the code {code}", code="unknown_unit", field=field)
    return unit
