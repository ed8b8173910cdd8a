"""Compression for browsers: static files are packed once by each process, people's pages one by one.

Bodies of the API are not touched here: the large ones are packed where they are made.
"""

from __future__ import annotations

import gzip
import re
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

from lib.encoding import accepts_gzip

LEVEL = 6
# Fonts and pictures are packed already.
PACKABLE = re.compile(r"(text/(css|javascript|html|plain|xml)|application/(javascript|json|wasm)|image/svg\+xml)\b")


class StaticFiles(WhiteNoiseMiddleware):
    """Whitenoise, which packs nothing itself and would want packed files beside those in the virtual environment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed: dict[str, bytes] = {}  # of files that whitenoise knows, so there is an end to it

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return self.get_response(request)  # type: ignore[no-any-return]
        response: HttpResponseBase = self.serve(static_file, request)
        if not PACKABLE.match(response.headers.get("Content-Type", "")):
            return response
        patch_vary_headers(response, ["Accept-Encoding"])
        if request.method != "GET" or response.status_code != 200:
            return response
        if not accepts_gzip(request.headers.get("Accept-Encoding", "")):
            return response
        return self._pack(request.path_info, response)

    def _pack(self, path: str, response: Any) -> HttpResponseBase:
        if path not in self._packed:
            self._packed[path] = gzip.compress(b"".join(response.streaming_content), LEVEL, mtime=0)
        response.streaming_content = [self._packed[path]]
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(self._packed[path]))
        return response  # type: ignore[no-any-return]


class Pages(GZipMiddleware):
    """Compression of HTML only. Its length tells nothing of the CSRF token in it (BREACH): Django masks that anew
    for each answer, and its middleware adds a random number of bytes."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)
