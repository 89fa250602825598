"""A stateful fake of Stripe's API, in a process of its own: `python -m tests.fakes.stripe`.

It speaks HTTP, forms and JSON as the real one does, so that the real SDK can drive it; what Stripe
would decide (a card that declines, a bank that disputes) is set through `/_fake/...`.
"""
