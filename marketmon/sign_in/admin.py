"""The admin pages of sign-in: sessions, which can be ended, and where they are used factors and linked accounts."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib import admin
from django.contrib.sessions.models import Session
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from lib import clock
from lib.admin_pages import PageAdmin
from web.admin import cut, since

LIBRARYS = ("account", "usersessions", "mfa", "socialaccount")

for model in [each for each in admin.site._registry if each._meta.app_label in LIBRARYS]:
    admin.site.unregister(model)


class ListedAdmin(PageAdmin):
    """A list of what people have made by signing in: nothing is added or changed here, only ended."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(UserSession)
class SessionAdmin(ListedAdmin):
    """Admin page of who is signed in where. Deleting a row ends the session at once."""

    list_display = ("person", "address", "browser", "began")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("user__username__startswith", "ip")
    ordering = ("-created_at", "-id")
    sortable_by = ()
    fields = ("user", "ip", "user_agent", "created_at")
    actions = ("end_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[UserSession]:
        """Returns what has not expired: an expired session is no row of Django's any more, or soon none."""
        sessions = Session.objects.filter(expire_date__gt=clock.now())
        found: QuerySet[UserSession] = super().get_queryset(request)
        return found.filter(session_key__in=sessions.values("session_key"))

    def get_actions(self, request: HttpRequest) -> Any:
        """Leaves out deleting without ending."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    @admin.action(description="End", permissions=["delete"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        ended = list(queryset)
        for session in ended:
            self.log_deletions(request, UserSession.objects.filter(pk=session.pk))
            session.end()
        self.message_user(request, f"{len(ended)} sessions have ended.")

    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        obj.end()

    @display(description="person")
    def person(self, session: UserSession) -> str:
        return str(session.user.get_username())

    @display(description="address")
    def address(self, session: UserSession) -> str:
        return str(session.ip)

    @display(description="browser")
    def browser(self, session: UserSession) -> str:
        return cut(session.user_agent)

    @display(description="since", header=True)
    def began(self, session: UserSession) -> tuple[str, str]:
        return since(session.created_at)


class FactorAdmin(ListedAdmin):
    """Admin page of second factors. Who has lost theirs is let in again by deleting it."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("user__username__startswith",)
    ordering = ("-id",)
    sortable_by = ()
    fields = ("user", "type", "created_at", "last_used_at")  # never `data`

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Ends the person's sessions, too: they may remember that there was a factor."""
        for session in UserSession.objects.filter(user_id=obj.user_id):
            session.end()
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for factor in queryset:
            self.delete_model(request, factor)


class LinkedAdmin(ListedAdmin):
    """Admin page of accounts elsewhere by which people sign in. Deleting one unlinks it."""

    list_display = ("user", "uid", "date_joined", "last_login")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("user__username__startswith", "uid__startswith")
    ordering = ("-id",)
    sortable_by = ()
    fields = ("user", "uid", "date_joined", "last_login")


if apps.is_installed("allauth.mfa"):
    from allauth.mfa.models import Authenticator

    admin.site.register(Authenticator, FactorAdmin)
if apps.is_installed("allauth.socialaccount"):
    from allauth.socialaccount.models import SocialAccount

    admin.site.register(SocialAccount, LinkedAdmin)
