"""The first steps, shown on the board until somebody puts them away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest

from access.models import ApiKey
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange

COOKIE = "board_guide"
DISMISSED = "dismissed"
SHOWN_NAMES = 12


@dataclass(frozen=True, slots=True)
class Guide:
    """The guide's content: what is simulated, and which steps are done."""

    simulated: Sequence[str]
    more_simulated: int
    real: Sequence[str]
    has_key: bool


def find(request: HttpRequest) -> Guide | None:
    """Returns the guide; None when this browser has put it away. Two queries."""
    if request.COOKIES.get(COOKIE) == DISMISSED:
        return None
    rows = list(Exchange.objects.known().order_by("id").values_list("id", "base_url"))
    simulated = [exchange for exchange, base_url in rows if SANDBOX_PLACEHOLDER in base_url]
    real = [exchange for exchange, base_url in rows if SANDBOX_PLACEHOLDER not in base_url]
    return Guide(
        simulated=simulated[:SHOWN_NAMES],
        more_simulated=max(0, len(simulated) - SHOWN_NAMES),
        real=real[:SHOWN_NAMES],
        has_key=ApiKey.objects.exists(),
    )
