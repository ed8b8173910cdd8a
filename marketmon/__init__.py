"""Composition only: settings, URLs, the Celery app, the supervisor. Rules live in the other packages."""

from marketmon.celery import app as celery_app

__all__ = ["celery_app"]
