"""The OpenAPI description, made once for all who may read the same: it depends on the code, and on who is staff."""

from __future__ import annotations

import gzip
import hashlib
import threading
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from lib.encoding import accepts_gzip

MOST_KEPT = 32  # as many as there are sets of permissions times forms; beyond them each is made anew

# drf-spectacular keeps the view it describes on the class that describes it: two at once end each other's with a 500.
_one_at_a_time = threading.Lock()
_made: dict[tuple[str, frozenset[str]], Description] = {}


@dataclass(frozen=True, slots=True)
class Description:
    plain: bytes
    packed: bytes
    etag: str


class SchemaView(SpectacularAPIView):
    def _get_schema_response(self, request: Request) -> HttpResponseBase:
        """Answers without a look at a stranger's query, which would be a description of its own."""
        form = request.accepted_renderer.format
        response = _answer(request, self._description(request, form))
        response.headers["Content-Type"] = f"{request.accepted_media_type}; charset=utf-8"
        response.headers["Content-Disposition"] = f'inline; filename="marketmon.{form}"'
        return response

    def _get_version_parameter(self, request: Request) -> None:
        return None

    def _description(self, request: Request, form: str) -> Description:
        key = form, _rights(request.user)
        found = _made.get(key)
        if found is not None:
            return found
        with _one_at_a_time:
            found = _made.get(key) or self._make(request)
            if len(_made) < MOST_KEPT:
                _made[key] = found
            return found

    def _make(self, request: Request) -> Description:
        made: Any = super()._get_schema_response(request)  # type: ignore[no-untyped-call]
        plain = _rendered(made, self, request)
        etag = f'"{hashlib.blake2b(plain, digest_size=12).hexdigest()}"'
        return Description(plain, gzip.compress(plain, mtime=0), etag)


def forget() -> None:
    """Forgets all descriptions, so that they are made anew from the code, as tests do."""
    _made.clear()


def _rights(user: AbstractBaseUser | AnonymousUser) -> frozenset[str]:
    """Returns what `web.drf.may_see` tells views, which describe themselves by nothing else of the caller."""
    return frozenset(user.get_all_permissions()) if getattr(user, "is_staff", False) else frozenset()  # type: ignore[union-attr]


def _rendered(made: Response, view: SpectacularAPIView, request: Request) -> bytes:
    context = {"view": view, "request": request, "response": made}
    text = request.accepted_renderer.render(made.data, request.accepted_media_type, context)
    return text if isinstance(text, bytes) else str(text).encode()


def _answer(request: Request, description: Description) -> HttpResponse:
    headers = {"ETag": description.etag, "Cache-Control": "private, no-cache"}
    response = HttpResponse(description.plain, headers=headers)
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        response = HttpResponse(description.packed, headers=headers | {"Content-Encoding": "gzip"})
    response.headers["Content-Length"] = str(len(response.content))
    patch_vary_headers(response, ["Accept-Encoding"])
    known: Any = get_conditional_response(request._request, etag=description.etag, response=response)
    return known or response
