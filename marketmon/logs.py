"""Logs: one JSON object a line, on stderr, without secrets."""

from __future__ import annotations

import logging
from typing import Any

import structlog

STRANGERS_WORDS = 200  # characters of a line that repeats what somebody sent


class CalmAboutStrangers(logging.Filter):
    """A filter that makes one line of each request that Django found suspicious and refused: anybody can send many.

    Django logs them as errors, with a traceback of its own code.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security.") and record.levelno > logging.WARNING:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = record.getMessage()[:STRANGERS_WORDS], ()
            record.exc_info = record.exc_text = None
        return True


def configuration(level: str) -> dict[str, Any]:
    """Returns what Django hands to `logging.config`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
                "foreign_pre_chain": _facts(),
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["calm", "redact"]}},
        "filters": {
            "calm": {"()": "marketmon.logs.CalmAboutStrangers"},
            "redact": {"()": "web.redaction.RedactSecrets"},
            # A 503 is an answer that we chose; its request line is logged like every other.
            "failures_only": {
                "()": "django.utils.log.CallbackFilter",
                "callback": lambda record: getattr(record, "status_code", None) != 503,
            },
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR", "filters": ["failures_only"]},
            "django_structlog": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.consumer.consumer": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
        },
    }


def configure_structlog() -> None:
    """Configures our own loggers, which end in the same handler."""
    first, *others = _facts()
    structlog.configure(
        processors=[
            first,
            structlog.stdlib.filter_by_level,
            *others,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _facts() -> list[Any]:
    """Returns what adds to each event the request's or task's facts, where it comes from, when, and the traceback."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
