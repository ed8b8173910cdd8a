"""Request bodies: none is longer than its limit, none brings a file, and few are read at once.

Behind `web.gateway` a body is there before Django begins. Under another server reading it waits for the caller for as
long as the caller likes, and each of the web's threads could be held that way by one slow connection. So only some of
them ever read; those that answer questions without a body stay free whatever callers do.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase

from lib.problems import problem
from web.errors import UploadRefused, no_files, too_large
from web.middleware import API_PATH

Next = Callable[[HttpRequest], HttpResponseBase]

ESCAPE_BYTES = len("%41")
MOST_UNREAD_BYTES = 16 * 1024  # of a form whose escapes nobody counts

READERS = 4  # of the web's eight threads
# A body that comes with its headers is read in well under a millisecond; only a slow caller keeps a place for longer.
WAIT_SECONDS = 0.05


class NoUploads(FileUploadHandler):
    """Ends the reading of a form at its first file, before a byte of it is kept."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        raise UploadRefused

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        raise UploadRefused

    def file_complete(self, file_size: int) -> None:
        raise UploadRefused


class LimitedBodies:
    """Refuses bodies before anything else is done with a request: 413 for a page's body that is too long (APIs say
    so in their own words), 415 for a file, 503 while READERS others are still sending theirs."""

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
            refusal = _read(request)
        except UnreadablePostError:
            return problem(400, "The request body ended before its announced length.")
        except UploadRefused:
            return no_files(request)
        finally:
            self._places.release()
        return refusal or self.get_response(request)


def _read(request: HttpRequest) -> HttpResponseBase | None:
    """Reads what is short enough, and a page's form with it. A body of no sane length is left to an API's view, which
    refuses it by its length; no view but an API's ever sees one."""
    if _is_too_long(request.META["CONTENT_LENGTH"]):
        return None if API_PATH.match(request.path_info) else too_large(request)
    body = request.body  # kept by the request for whoever asks for it later
    if request.content_type == "application/x-www-form-urlencoded" and _has_broken_escapes(body):
        return problem(400, "The form has more percent signs than escapes.")
    if request.content_type == "multipart/form-data" and not API_PATH.match(request.path_info):
        _ = request.POST
    return None


def _has_broken_escapes(body: bytes) -> bool:
    """Says whether a form has signs that escape nothing: reading a megabyte of them takes a second of computing."""
    return len(body) > MOST_UNREAD_BYTES and body.count(b"%") * ESCAPE_BYTES > len(body)


def _is_chunked(request: HttpRequest) -> bool:
    return "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH")


def _read_chunks(request: HttpRequest) -> None:
    """Reads a body that comes in chunks: Django reads by the announced length, so nothing of such a one.

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


def _is_too_long(announced: str) -> bool:
    return not announced.isdecimal() or int(announced) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def _busy() -> HttpResponseBase:
    response = problem(503, "Too many requests are still being sent. Try again in some seconds.")
    response.headers["Retry-After"] = "2"
    return response
