"""The base of the board's pages: who may see them, the admin's frame, and answers that browsers keep."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers
from django.views.decorators.http import require_safe

from lib import clock
from web.admin import reloaded

View = Callable[..., HttpResponse]


def page(view: View, *, permission: str) -> Callable[..., HttpResponseBase]:
    """Returns the view as a whole page: asks for a sign-in without one, and refuses who may not see it.

    Parts of it are renewed from the page itself, by htmx; a sign-in form would not fit into their place.
    """

    @wraps(view)
    def allowed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    asked_to_sign_in = admin.site.admin_view(allowed)

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.headers.get("HX-Request") and not admin.site.has_permission(request):
            return reloaded()
        return asked_to_sign_in(request, *args, **kwargs)

    return require_safe(shown)


def part(view: View, *, permission: str) -> Callable[..., HttpResponseBase]:
    """Returns the view as a fragment or a chart's data, asked for again and again: sent only when it changed.

    After a sign-out the page around it is loaded anew, and asks to sign in.
    """

    @wraps(view)
    def allowed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not admin.site.has_permission(request):
            return reloaded()
        if not request.user.has_perm(permission):
            raise PermissionDenied
        response = _unless_known(request, view(request, *args, **kwargs))
        for name, value in server_now().items():
            response.headers[name] = value
        return response

    return require_safe(allowed)


def server_now() -> dict[str, str]:
    """Returns the header that browsers count "ago" from, however wrong their own clocks are."""
    return {"Server-Now": clock.milliseconds_z(clock.now())}


def _unless_known(request: HttpRequest, response: HttpResponse) -> HttpResponseBase:
    patch_cache_control(response, private=True, no_cache=True)
    patch_vary_headers(response, ["Cookie"])
    if response.status_code != 200:
        return response
    etag = f'"{hashlib.blake2b(response.content, digest_size=12).hexdigest()}"'
    response.headers["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response) or response


def show(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Shows a page; `context` needs a `title`."""
    return render(request, template, {**admin.site.each_context(request), **context})
