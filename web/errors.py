"""Every way a request can fail, as JSON on our API routes and as a page that says what to do elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db.utils import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from lib import clock
from lib.database import obstacles
from lib.problems import problem, problem_body
from web.middleware import API_PATH, correlation_id

DATABASE_AWAY = (OperationalError, InterfaceError)
DATABASE_AWAY_MESSAGE = "The database cannot answer now. Try again in some seconds."


DISK_FULL_MESSAGE = "The database's disk is full: nothing can be stored until there is room."
DISK_FULL = "53100"  # PostgreSQL's code
READ_ONLY = "25006"  # PostgreSQL's code: a replica before its promotion, or a server that was told to be one


def is_database_away(error: BaseException | None) -> bool:
    """Says whether the database does not answer, or stores nothing: in both cases it will again, and not at once."""
    return isinstance(error, DATABASE_AWAY) or getattr(error and error.__cause__, "pgcode", None) == READ_ONLY


def _why_away(error: BaseException | None) -> str:
    is_full = getattr(error and error.__cause__, "pgcode", None) == DISK_FULL
    return DISK_FULL_MESSAGE if is_full else DATABASE_AWAY_MESSAGE


class UploadRefused(SuspiciousOperation):
    """The refusal of an uploaded file: no page and no route takes one."""


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Returns DRF's error response. None (an unexpected error) goes on to `server_error`, which logs the traceback."""
    if is_database_away(error):
        error = ServiceUnavailable(_why_away(error))
    response = exception_handler(error, dict(context))
    if response is None:
        return None
    message, details = _words(response.data)
    more = {"details": details} if details else {}
    documented = getattr(error, "body", None)  # a refusal that a document prescribes word for word
    response.data = documented or problem_body(response.status_code, message, now=clock.now(), **more)
    response.headers["Cache-Control"] = "no-store"
    return response


class ServiceUnavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Not available now."
    default_code = "unavailable"


def _words(data: Any) -> tuple[str, Any]:
    """Returns one sentence, and the errors by field where there are any."""
    if isinstance(data, Mapping) and set(data) == {"detail"}:
        return str(data["detail"]), None
    if isinstance(data, Mapping):
        return f"Invalid: {', '.join(map(str, data))}.", _with_names(data)
    return "; ".join(map(str, data)), None


def _with_names(details: Any) -> Any:
    """Returns the errors by field with names that JSON has: DRF counts the items of a list by number."""
    if isinstance(details, Mapping):
        return {str(name): _with_names(each) for name, each in details.items()}
    return [_with_names(each) for each in details] if isinstance(details, list) else details


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return too_large(request)
    if isinstance(exception, UploadRefused):
        return no_files(request)
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return problem(400, "The request cannot be read.")


def too_large(request: HttpRequest) -> HttpResponse:
    return problem(413, "The request body is too large.") if _is_api(request) else page(413)


def no_files(request: HttpRequest) -> HttpResponse:
    return problem(415, "Files are not accepted here.") if _is_api(request) else page(415)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem(403, "Not allowed.") if _is_api(request) else defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        return problem(404, f"No route {request.method} {request.path[:200]}")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Returns a 500, also for what a middleware raised; with the database away the answer is 503, never another 5xx."""
    error = sys.exc_info()[1]
    if is_database_away(error):
        return problem(503, _why_away(error)) if _is_api(request) else _away_page(error)
    if _is_api(request):
        return problem(500, f"Unexpected failure; the log has it under correlation id {correlation_id()}")
    return page(500, correlation_id=correlation_id())


def _away_page(error: BaseException | None) -> HttpResponse:
    obstacle = obstacles.of(error) if error is not None else obstacles.AWAY
    return page(503, what=obstacle.what, do=obstacle.do)


def page(status: int, **said: str) -> HttpResponse:
    """Returns a page for people; made without a request, whose context would ask the database who they are."""
    return HttpResponse(render_to_string(f"{status}.html", said), status=status, headers={"Cache-Control": "no-store"})


def _is_api(request: HttpRequest) -> bool:
    """Says whether errors are JSON there, whoever asks; elsewhere people read a page."""
    return API_PATH.match(request.path_info) is not None
