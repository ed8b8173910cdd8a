"""The admin pages of the libraries that we use: users, groups, changed fields and beat's schedule."""

from __future__ import annotations

from typing import Any

from auditlog.admin import LogEntryAdmin
from auditlog.filters import ResourceTypeFilter
from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from collectors.polling import schedule
from lib import clock
from lib.admin_pages import PageAdmin
from marketmon.sign_in import admin as sign_in  # noqa: F401  (its pages are registered with these)
from web.admin import InfinitePaginator, ago

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
class UserAdmin(DjangoUserAdmin, PageAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Refuses one's own account: what it does would be recorded under a user who is gone, and be lost."""
        return obj != request.user and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deletable, counts, needed, protected = super().get_deleted_objects(objs, request)
        is_own = any(each.pk == request.user.pk for each in objs)
        return deletable, counts, {*needed, "your own account"} if is_own else needed, protected


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, PageAdmin):
    pass


@admin.register(LogEntry)
class ChangeAdmin(LogEntryAdmin, PageAdmin):
    """Admin page of who changed what."""

    paginator = InfinitePaginator
    show_full_result_count = False
    date_hierarchy = None
    ordering = ("-timestamp", "-id")
    sortable_by = ()
    list_filter = ("action", ResourceTypeFilter)
    search_fields = ("object_repr__startswith", "actor__username__startswith")
    list_per_page = 50


@admin.register(PeriodicTask)
class ScheduleAdmin(PeriodicTaskAdmin, PageAdmin):
    """Admin page of beat's rows. The code says what runs; operators say when, and whether."""

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
        """Switches tasks and logs it: the library's own actions ask for no permission and leave no trace."""
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
class IntervalAdmin(PageAdmin):
    list_display = ("__str__", "every", "period")


@admin.register(CrontabSchedule)
class CrontabAdmin(PageAdmin):
    list_display = ("__str__", "human_readable")


@admin.register(SolarSchedule, ClockedSchedule)
class OtherScheduleAdmin(PageAdmin):
    pass
