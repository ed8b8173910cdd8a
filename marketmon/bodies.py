"""Request bodies are read before anything else is done, and few at once.

The web server hands a request over as soon as its headers are there, and reading the body then waits for the caller for
as long as the caller likes. Each of the web's threads could be held that way by one slow connection. So only some of
them ever read; those that answer questions without a body stay free whatever callers do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase

from marketmon.lib.problems import problem

Next = Callable[[HttpRequest], HttpResponseBase]

READERS = 4  # of the web's eight threads
# A body that comes with its headers is read in well under a millisecond; only a slow caller keeps a place for longer.
WAIT_SECONDS = 0.05


class FewBodiesAtOnce:
    """503 for a request with a body while READERS others are still sending theirs."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        self._places = threading.BoundedSemaphore(READERS)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        announced = request.META.get("CONTENT_LENGTH") or "0"
        if announced == "0":
            return self.get_response(request)
        if not self._places.acquire(timeout=WAIT_SECONDS):
            return _busy()
        try:
            if _is_read_by_views(announced):
                return self.get_response(request)
            _ = request.body  # kept by the request for whoever asks for it later
        except UnreadablePostError:
            return problem(400, "The request body ended before its announced length.")
        finally:
            self._places.release()
        return self.get_response(request)


def _is_read_by_views(announced: str) -> bool:
    """A body of no sane length is refused by each view in its own words, after a look at its beginning."""
    return not announced.isdecimal() or int(announced) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def _busy() -> HttpResponseBase:
    response = problem(503, "Too many requests are still being sent. Try again in some seconds.")
    response.headers["Retry-After"] = "2"
    return response
