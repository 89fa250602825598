#!/usr/bin/env python
"""Django's command line for the billing back office."""

import os
import sys


def main() -> None:
    """Run one management command; a wrong setting or an absent database is one clear line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Settings: {error}")
    except OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        sys.exit(f"Database: {reason} (is DATABASE_URL right, and does the server run?)")


if __name__ == "__main__":
    main()
