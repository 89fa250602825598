"""Logs as JSON, one line for an event, each with the request's id; never payloads or signed links.

Code logs with `logging`: the event as message, facts as `extra`. structlog renders both.
"""

import re
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# What opens an invoice to whoever has it, in a path or in the words of an error about one.
_SIGNED = re.compile(r"/invoice/[^/\s'\"\\]+")
_as_json = structlog.processors.JSONRenderer(default=str)


def logging_config(level: str) -> dict[str, Any]:
    """Return Django's LOGGING: everything to stderr as JSON lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": _json_formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": "INFO"},  # Django's own console handler goes.
            # `billing_project.api.middleware` writes one line for each request.
            "django.request": {"level": "ERROR"},
            "django.server": {"handlers": [], "level": "ERROR"},
            "stripe": {"level": "WARNING"},  # Two lines for each call are on its row already.
        },
    }


def _json_formatter() -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _rendered,
        ],
    )


def _rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """Render an event, with every link to an invoice cut off."""
    return _SIGNED.sub("/invoice/-", str(_as_json(logger, name, event)))
