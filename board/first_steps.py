"""The first steps, shown on the board until somebody puts them away."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.http import HttpRequest

from access.models import ApiKey
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib.home import PROJECT_DIR

COOKIE = "board_guide"
DISMISSED = "dismissed"
SHOWN_NAMES = 12


@dataclass(frozen=True, slots=True)
class Guide:
    """The guide's content: what is simulated (`has_sandbox`: now), and which steps are done."""

    simulated: Sequence[str]
    more_simulated: int
    real: Sequence[str]
    has_key: bool
    has_sandbox: bool
    python: str


def python_here() -> str:
    """Returns the interpreter to call manage.py with, as it would be typed in the project's folder."""
    path = Path(sys.executable)
    return str(path.relative_to(PROJECT_DIR)) if path.is_relative_to(PROJECT_DIR) else str(path)


def find(request: HttpRequest) -> Guide | None:
    """Returns the guide; None when this browser has put it away. Two queries."""
    if request.COOKIES.get(COOKIE) == DISMISSED:
        return None
    rows = list(Exchange.objects.known().order_by("id").values_list("id", "base_url", "enabled"))
    simulated = [exchange for exchange, base_url, _ in rows if SANDBOX_PLACEHOLDER in base_url]
    real = [exchange for exchange, base_url, _ in rows if SANDBOX_PLACEHOLDER not in base_url]
    return Guide(
        simulated=simulated[:SHOWN_NAMES],
        more_simulated=max(0, len(simulated) - SHOWN_NAMES),
        real=real[:SHOWN_NAMES],
        has_key=ApiKey.objects.exists(),
        python=python_here(),
        has_sandbox=any(enabled and SANDBOX_PLACEHOLDER in base_url for _, base_url, enabled in rows),
    )
