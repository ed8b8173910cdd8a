"""What our admin pages share, and the pages of the libraries that we use, in the same clothes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from auditlog.admin import LogEntryAdmin
from auditlog.filters import ResourceTypeFilter
from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.paginator import InfinitePage

from collectors import schedule
from marketmon.lib import clock

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


class MachineAdmin(ModelAdmin):
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


# --- pages of the libraries -----------------------------------------------------------------------------------------

for model in (
    User,
    Group,
    LogEntry,
    PeriodicTask,
    IntervalSchedule,
    CrontabSchedule,
    SolarSchedule,
    ClockedSchedule,
):
    admin.site.unregister(model)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass


@admin.register(LogEntry)
class ChangeAdmin(LogEntryAdmin, ModelAdmin):
    """Who changed what."""

    paginator = InfinitePaginator
    show_full_result_count = False
    date_hierarchy = None
    ordering = ("-timestamp", "-id")
    sortable_by = ()
    list_filter = ("action", ResourceTypeFilter)
    search_fields = ("object_repr__startswith", "actor__username__startswith")
    list_per_page = 50


@admin.register(PeriodicTask)
class ScheduleAdmin(PeriodicTaskAdmin, ModelAdmin):
    """Beat's rows. The code says what runs; operators say when, and whether."""

    form = ModelForm
    change_form_template = None
    date_hierarchy = None
    actions = ("switch_on", "switch_off")
    list_display = ("name", "enabled", "interval", "crontab", "last_run", "total_run_count")
    list_filter = ("enabled",)
    list_filter_submit = True
    search_fields = ("name__startswith",)
    fieldsets = (
        (None, {"fields": ("name", "task", "enabled", "description")}),
        ("When", {"fields": ("interval", "crontab", "expire_seconds", "last_run_at", "total_run_count")}),
        ("With", {"fields": ("args", "kwargs", "queue")}),
    )
    readonly_fields = ("name", "task", "args", "kwargs", "queue", "last_run_at", "total_run_count")

    @admin.display(description="last run")
    def last_run(self, task: PeriodicTask) -> str:
        return ago(task.last_run_at, clock.now())

    @admin.action(description="Enable", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Disable", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[PeriodicTask], *, enabled: bool) -> None:
        """The library's own actions ask for no permission and leave no trace."""
        turned = list(queryset.exclude(enabled=enabled))
        queryset.filter(pk__in=[task.pk for task in turned]).update(enabled=enabled)
        PeriodicTasks.update_changed()
        for task in turned:
            self.log_change(request, task, "Enabled." if enabled else "Disabled.")
        self.message_user(request, f"{len(turned)} of {queryset.count()} {'enabled' if enabled else 'disabled'}.")

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        kind, _, exchange_id = obj.name.partition(":")
        if kind == "poll":
            schedule.sync(now=clock.now(), exchange_ids=[exchange_id])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(IntervalSchedule)
class IntervalAdmin(ModelAdmin):
    list_display = ("__str__", "every", "period")


@admin.register(CrontabSchedule)
class CrontabAdmin(ModelAdmin):
    list_display = ("__str__", "human_readable")


@admin.register(SolarSchedule, ClockedSchedule)
class OtherScheduleAdmin(ModelAdmin):
    pass
