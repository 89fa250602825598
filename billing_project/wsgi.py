"""The WSGI application that the HTTP server calls."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
long_way = get_wsgi_application()  # First: it sets Django up.

import billing_project.urls  # noqa: E402, F401 - now, not with the first request
from billing_project.api.door import Door  # noqa: E402

application = Door(long_way)
