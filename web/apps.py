"""The admin's configuration: its pages are imported by who serves or checks them, not by each process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class LateAdminConfig(SimpleAdminConfig):
    """The admin without discovery at start, which costs a second of each process: `marketmon.urls` discovers."""

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)


def check_pages(app_configs: Sequence[AppConfig] | None, **more: Any) -> list[checks.CheckMessage]:
    """Returns what Django finds wrong with the admin's pages, all of them: whatever else was imported before."""
    admin.autodiscover()
    found: list[checks.CheckMessage] = check_admin_app(app_configs, **more)
    return found
