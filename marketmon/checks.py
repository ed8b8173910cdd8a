"""Checks of settings by `manage.py check`, besides what settings_table refuses when it reads them."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning, register

from marketmon import retired_settings

HINT = "Take it out of the environment; docs/settings.md lists what is fixed."


@register()
def check_retired_settings(**_: Any) -> list[CheckMessage]:
    """Returns a warning for each retired setting: a start goes on, but nobody should trust a number without effect."""
    return [
        Warning(retired_settings.in_words(retired, text), hint=HINT, id="marketmon.W001")
        for retired, text in retired_settings.still_set()
    ]
