"""Ground and roof of the billing back office.

Every process that computes with quantities or money needs more than Python's 28 default digits:
38-digit amounts times 12-digit prices. The context is set here because every process imports this.
"""

import decimal

DECIMAL_PRECISION = 60

decimal.DefaultContext.prec = DECIMAL_PRECISION
decimal.setcontext(decimal.DefaultContext.copy())
