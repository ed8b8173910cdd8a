"""What our admin pages share: lists that machines write, cells, filters, fragments that a page polls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from unfold.contrib.filters.admin import DropdownFilter
from unfold.paginator import InfinitePage

from lib import clock
from lib.admin_pages import PageAdmin

PAGES = 1000  # deeper than this an OFFSET costs seconds, and a filter finds the row sooner
STATUS_LABELS = {"running": "success", "error": "danger", "stopped": "warning"}
LIST_TEXT_CHARACTERS = 160  # an exchange's error may be a page of HTML


class InfinitePaginator(Paginator):  # type: ignore[type-arg]
    """Pages without a COUNT, which would be the slowest query of the page. Unfold knows it by this name."""

    template_name = "unfold/helpers/pagination_infinite.html"

    @cached_property
    def count(self) -> int:
        return int(self.per_page) * PAGES

    def _get_page(self, *args: Any, **kwargs: Any) -> InfinitePage:
        return InfinitePage(*args, **kwargs)


class MachineAdmin(PageAdmin):
    """Rows that machines write: people read, filter and search them, and never wait for a count."""

    actions: Sequence[str] | None = None
    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 100
    list_filter_submit = True
    list_fullwidth = True
    sortable_by: Sequence[str] = ()

    class Media:
        css = {"all": ("marketmon/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def word_filter(
    label: str,
    words: Sequence[tuple[str, str]],
    *,
    parameter: str,
    narrow: Callable[[QuerySet[Any], str], QuerySet[Any]],
) -> type[DropdownFilter]:
    """A dropdown of fixed words; `narrow` says what one of them selects."""

    class WordFilter(DropdownFilter):
        title = label
        parameter_name = parameter

        def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
            return words

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            value = self.value()
            return narrow(queryset, value) if value in dict(words) else queryset

    return WordFilter


def ago(moment: datetime | None, now: datetime) -> str:
    """`12 s ago`, in the largest unit that keeps two digits of meaning."""
    if moment is None:
        return "never"
    seconds = int((now - moment).total_seconds())
    if seconds < 0:
        return f"in {_span(-seconds)}"
    return f"{_span(seconds)} ago"


def _span(seconds: int) -> str:
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86_400} d"


def utc(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "-"


def since(moment: datetime | None) -> tuple[str, str]:
    """Both ways of saying when, for a two-line cell."""
    return ago(moment, clock.now()), utc(moment) if moment else ""


def cut(text: str) -> str:
    return text if len(text) <= LIST_TEXT_CHARACTERS else text[: LIST_TEXT_CHARACTERS - 1] + "…"


def back_to_page(request: HttpRequest, fallback: str, *, is_gone: bool = False) -> HttpResponse:
    """Where the dialog was opened, unless that page is gone: htmx is told by a header, a plain form by a redirect."""
    page = "" if is_gone else request.headers.get("HX-Current-URL", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure()):
        page = reverse(fallback)
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": page})
    return HttpResponseRedirect(page)


def reloaded() -> HttpResponse:
    """Signed out meanwhile: the page is loaded anew, and asks to sign in; a redirect would put the sign-in form into
    the fragment's place."""
    return HttpResponse(status=403, headers={"HX-Refresh": "true"})


def polled(view: Callable[..., HttpResponse], *, permission: str) -> Callable[..., HttpResponse]:
    """A fragment that a page asks for again and again."""

    @never_cache
    @wraps(view)
    def fragment(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not admin.site.has_permission(request):
            return reloaded()
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return fragment
