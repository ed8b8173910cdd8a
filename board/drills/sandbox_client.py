"""The board's hand on the sandbox: order a fault, take it back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from django.conf import settings

from exchanges.models import SANDBOX_PLACEHOLDER, Exchange

PATIENCE_SECONDS = 3.0
CLONE = re.compile(re.escape(SANDBOX_PLACEHOLDER) + r"/(clone-[a-z0-9-]+)")


class NoSandbox(Exception):
    """Nothing was broken; says why."""


def name_of(exchange: Exchange) -> str:
    """The name that the sandbox knows a simulated exchange by."""
    clone = CLONE.match(exchange.base_url)
    return clone[1] if clone else exchange.id


def put(order: Mapping[str, Any]) -> int:
    """The fault's number. Raises NoSandbox."""
    answer = _ask("POST", "/faults", order)
    return int(answer["id"])


def lift(number: int) -> None:
    """One that is over or gone is no error. Raises NoSandbox."""
    _ask("DELETE", f"/faults/{number}")


def _ask(method: str, path: str, content: Mapping[str, Any] | None = None) -> Any:
    url = f"{settings.SANDBOX_URL}/_sandbox{path}"
    body = None if content is None else json.dumps(content).encode()
    try:
        request = Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - our setting
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError as error:
        raise NoSandbox(f"the sandbox refused: {_reason(error)}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise NoSandbox(f"no sandbox answers at {settings.SANDBOX_URL}: {error}") from error


def _reason(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"status {error.code}"
