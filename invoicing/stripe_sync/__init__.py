"""Money through Stripe: what we ask it for, what it tells us, and whether both agree.

Only `gateway` imports Stripe's SDK. What we ask for is a row that is committed before it is sent
(`calls`, `sending`); what we are told is a hint, and the object itself is fetched (`events`).
Effects are the services that record any payment, refund or dispute.
"""
