"""Request bodies are read before anything else is done, and few at once.

The web server hands a request over as soon as its headers are there, and reading the body then waits for the caller for
as long as the caller likes. Each of the web's threads could be held that way by one slow connection. So only some of
them ever read; those that answer questions without a body stay free whatever callers do.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase

from lib.problems import problem

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
        if not (is_chunked := _is_chunked(request)) and (request.META.get("CONTENT_LENGTH") or "0") == "0":
            return self.get_response(request)
        if not self._places.acquire(timeout=WAIT_SECONDS):
            return _busy()
        try:
            if is_chunked:
                _read_chunks(request)
            if _is_read_by_views(request.META["CONTENT_LENGTH"]):
                return self.get_response(request)
            _ = request.body  # kept by the request for whoever asks for it later
        except UnreadablePostError:
            return problem(400, "The request body ended before its announced length.")
        finally:
            self._places.release()
        return self.get_response(request)


def _is_chunked(request: HttpRequest) -> bool:
    return "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH")


def _read_chunks(request: HttpRequest) -> None:
    """Django reads a body by its announced length, so of one in chunks nothing: what it says was lost.

    One byte more than Django accepts is read at most, and then refused.
    """
    stream, body = request.META["wsgi.input"], bytearray()
    try:
        while part := stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1 - len(body)):
            body += part
    except OSError as error:
        raise UnreadablePostError(*error.args) from error
    request.META["CONTENT_LENGTH"] = str(len(body))
    request._stream = io.BytesIO(body)


def _is_read_by_views(announced: str) -> bool:
    """A body of no sane length is refused by each view in its own words, after a look at its beginning."""
    return not announced.isdecimal() or int(announced) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def _busy() -> HttpResponseBase:
    response = problem(503, "Too many requests are still being sent. Try again in some seconds.")
    response.headers["Retry-After"] = "2"
    return response
