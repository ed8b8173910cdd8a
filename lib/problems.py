"""The body of every refusal on our API routes: `{"error": …, "message": …, "timestamp": …}`, never HTML."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpResponse

from lib import clock


def problem_body(status: int, message: str, *, now: datetime, **more: Any) -> dict[str, Any]:
    return {"error": HTTPStatus(status).phrase, "message": message, "timestamp": clock.seconds_z(now), **more}


def problem(status: int, message: str, **more: Any) -> HttpResponse:
    body = orjson.dumps(problem_body(status, message, now=clock.now(), **more))
    response = HttpResponse(body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
