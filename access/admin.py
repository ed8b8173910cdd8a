"""Admin pages of keys, plans and use. A key's text is shown once: on the answer to the form that made it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from access import key_cache, keys, meter
from access.forms import ApiKeyForm
from access.models import ApiKey, CreditEntry, Tier, UsageDay
from lib import clock
from lib.admin_pages import PageAdmin, find_row_id

STATE_LABELS = {"active": "success", "paused": "warning", "expired": "warning", "revoked": "danger"}
CHANGELIST = "admin:access_apikey_changelist"
CHART_DAYS = 30


@admin.register(Tier)
class TierAdmin(PageAdmin):
    list_display = (
        "name", "rank", "requests_per_minute", "requests_per_hour", "monthly_requests", "monthly_credits", "max_rows"
    )  # fmt: skip
    ordering = ("rank", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Tier, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        key_cache.forget()


class KeyConfirmForm(BaseDialogForm):
    """A form with nothing to fill in: its hidden field proves that the dialog was confirmed."""


class RotateForm(forms.Form):
    overlap_hours = forms.FloatField(
        initial=24, min_value=0, max_value=24 * 366, widget=UnfoldAdminDecimalFieldWidget, label="Hours of overlap"
    )


@admin.register(ApiKey)
class ApiKeyAdmin(PageAdmin):
    form = ApiKeyForm
    list_display = ("name", "key_prefix", "tier", "key_state", "month", "last_used", "expires_at")
    list_select_related = ("tier", "allowance")
    list_filter = ("tier",)
    list_filter_submit = True
    search_fields = ("name__icontains", "public_id__startswith")
    ordering = ("-created_at",)
    actions = None
    actions_detail = ("rotate", "pause", "resume", "revoke")
    fields = ("name", "tier", "scopes", "allowed_ips", "expires_at")
    readonly_fields = ("key_prefix", "key_state", "month", "last_used", "created_at")
    change_form_before_template = "access/usage.html"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ("key_prefix", "key_state", "month", "last_used", "created_at")
        own = (None, {"fields": self.fields})
        return (own, ("State", {"fields": shown})) if obj else (own,)

    @display(description="key")
    def key_prefix(self, key: ApiKey) -> str:
        return f"{key.prefix}_…"

    @display(description="state", label=STATE_LABELS)
    def key_state(self, key: ApiKey) -> str:
        return keys.state(key, clock.now())

    @display(description="this month")
    def month(self, key: ApiKey) -> str:
        allowance = getattr(key, "allowance", None)
        if allowance is None or allowance.month != meter.month_of(clock.now()):
            return "unused"
        limit = key.tier.monthly_credits
        credits = f"{allowance.credits_used:,}" + (f" of {limit:,}" if limit is not None else "")
        return f"{credits} credits, {allowance.requests_used:,} requests"

    @display(description="last used")
    def last_used(self, key: ApiKey) -> str:
        return f"{key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # the ledger hangs on it; revoke it

    # --- the one page that shows a key ---

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_data)
            key_cache.forget()
            return
        obj.created_at = clock.now()
        request.issued_key = keys.save_new(obj)  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._issued_page(request, request.issued_key)  # type: ignore[attr-defined]

    def _issued_page(self, request: HttpRequest, issued: keys.Issued) -> HttpResponse:
        until = issued.key.previous_until
        context = {
            **self.admin_site.each_context(request),
            "title": "New API key",
            "key": issued.key,
            "text": issued.text,
            "previous_until": f"{until:%Y-%m-%d %H:%M} UTC" if until else "",
            "back": reverse("admin:access_apikey_change", args=[issued.key.pk]),
        }
        return TemplateResponse(request, "access/issued.html", context, headers={"Cache-Control": "no-store"})

    def get_urls(self) -> list[URLPattern]:
        rotating = path(
            "<int:pk>/rotate-key/", self.admin_site.admin_view(self.rotate_view), name="access_apikey_rotate_key"
        )
        return [rotating, *super().get_urls()]

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        key = get_object_or_404(ApiKey, pk=pk)
        form = RotateForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
            issued = keys.rotate(key, now=clock.now(), overlap=overlap)
            self.log_change(request, key, "Rotated the secret.")
            return self._issued_page(request, issued)
        context = {
            **self.admin_site.each_context(request),
            "title": "Rotate API key",
            "key": key,
            "form": form,
            "back": reverse("admin:access_apikey_change", args=[pk]),
        }
        return TemplateResponse(request, "access/rotate.html", context)

    # --- verbs ---

    @action(description="Rotate…", icon="autorenew", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key_id = find_row_id(object_id)
        if key_id is None:
            raise Http404
        return HttpResponseRedirect(reverse("admin:access_apikey_rotate_key", args=[key_id]))

    @action(
        description="Pause…",
        icon="pause",
        permissions=["change"],
        dialog={
            "title": "Pause this key",
            "description": "Its calls are refused until it is resumed.",
            "form_class": KeyConfirmForm,
            "form_submit_text": "Pause",
        },
    )
    def pause(self, request: HttpRequest, form: KeyConfirmForm, object_id: str) -> HttpResponse:
        return self._done(request, object_id, "Paused.", keys.pause, now=clock.now())

    @action(
        description="Resume…",
        icon="play_arrow",
        permissions=["change"],
        dialog={
            "title": "Resume this key",
            "description": "Its calls are answered again.",
            "form_class": KeyConfirmForm,
            "form_submit_text": "Resume",
        },
    )
    def resume(self, request: HttpRequest, form: KeyConfirmForm, object_id: str) -> HttpResponse:
        return self._done(request, object_id, "Resumed.", keys.resume)

    @action(
        description="Revoke…",
        icon="block",
        permissions=["change"],
        dialog={
            "title": "Revoke this key for good",
            "description": "Its calls are refused from now on, and nothing brings it back.",
            "form_class": KeyConfirmForm,
            "form_submit_text": "Revoke",
        },
    )
    def revoke(self, request: HttpRequest, form: KeyConfirmForm, object_id: str) -> HttpResponse:
        return self._done(request, object_id, "Revoked.", keys.revoke, now=clock.now())

    def _done(self, request: HttpRequest, object_id: str, what: str, verb: Any, **details: Any) -> HttpResponse:
        key = get_object_or_404(ApiKey, pk=find_row_id(object_id))
        verb(key, **details)
        self.log_change(request, key, what)
        self.message_user(request, f"{key}: {what}")
        page = reverse("admin:access_apikey_change", args=[object_id])
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": page})
        return HttpResponseRedirect(page)

    # --- use by day ---

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        key_id = find_row_id(object_id)
        chart = {"usage_chart": _usage_chart(key_id)} if key_id is not None else {}
        page: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **chart})
        return page


def _usage_chart(key_id: int) -> str:
    days = meter.days_of(clock.now(), CHART_DAYS)
    calls = dict(UsageDay.objects.filter(key=key_id, day__gte=days[0]).values_list("day", "calls"))
    return json.dumps(
        {
            "labels": [f"{day:%d %b}" for day in days],
            "datasets": [{"label": "calls", "data": [calls.get(day, 0) for day in days], "backgroundColor": "#2563eb"}],
        }
    )


@admin.register(CreditEntry)
class CreditEntryAdmin(PageAdmin):
    list_display = ("charged_at", "key", "endpoint", "credits")
    list_select_related = ("key",)
    list_filter = ("endpoint",)
    search_fields = ("key__public_id__startswith", "key__name__istartswith")
    ordering = ("-id",)
    actions = None
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
