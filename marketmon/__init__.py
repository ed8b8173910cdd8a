"""Composition only: settings, URLs, the Celery app, the supervisor. Rules live in the other packages."""

__version__ = "0.1.0"  # the one place of it; first, because what follows reads it

from marketmon.celery import app as celery_app

__all__ = ["__version__", "celery_app"]
