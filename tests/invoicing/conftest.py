"""The shop, open for business."""

import pytest

from tests.invoicing.builders import Shop, open_shop


@pytest.fixture
def shop(db: None) -> Shop:
    """Return people, a rated meter and a burn order; plans and customers are the test's."""
    return open_shop()
