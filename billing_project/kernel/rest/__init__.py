"""What every endpoint stands on: keys and scopes, strict bodies, problems, idempotency, pages.

The apps' `api.py` build on `ApiView`; nothing here knows an app.
"""
