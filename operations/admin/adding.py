"""Adds an exchange: a form, a task that does it, and a page that shows the four checks as they finish."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import redis
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET

from exchanges import catalogue, secrets
from exchanges.models import Exchange
from operations import permissions, progress, tasks
from operations.admin import panels
from operations.admin.acting import call, send
from operations.admin.forms import CREDENTIAL_FIELDS, AddForm
from operations.exchange_settings import what_is_needed
from web.admin import polled

FIELDS = ("poll_interval_seconds", "transport", "priority", "base_url", "proxy", "ca_file")
SECTIONS = (
    ("", ("exchange",)),
    ("Collection", ("poll_interval_seconds", "transport", "priority")),
    ("Which markets", ("quotes", "only_markets", "top")),
    ("How to reach it", ("base_url", "proxy", "ca_file")),
    ("Credentials", CREDENTIAL_FIELDS),
)


def urls(model_admin: Any) -> list[URLPattern]:
    def watch(request: HttpRequest, key: str) -> HttpResponse:
        return progress_page(request, model_admin, key)

    return [
        path(
            "adding/<str:key>/", model_admin.admin_site.admin_view(require_GET(watch)), name="exchanges_exchange_adding"
        ),
        path(
            "adding/<str:key>/now/",
            polled(require_GET(progress_fragment), permission=permissions.ADD_EXCHANGE),
            name="exchanges_exchange_adding_now",
        ),
    ]


def page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    if not request.user.has_perm(permissions.ADD_EXCHANGE):
        raise PermissionDenied
    form_class = modelform_factory(
        Exchange,
        form=AddForm,
        fields=FIELDS,
        formfield_callback=partial(model_admin.formfield_for_dbfield, request=request),
    )
    form = form_class(request.POST or None)
    if request.method == "POST" and form.is_valid():
        key = _start(request, form)
        if key:
            return HttpResponseRedirect(reverse("admin:exchanges_exchange_adding", args=[key]))
    active = set(catalogue.active_ids())
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Add an exchange",
        "form": form,
        "sections": [(title, [form[name] for name in names]) for title, names in SECTIONS],
        "known_ids": [each for each in catalogue.available_ids() if each not in active],
        "needs": [said for each in catalogue.available_ids() if (said := what_is_needed(each))],
        "media": model_admin.media,
    }
    return TemplateResponse(request, "admin/exchanges/add.html", context)


def progress_page(request: HttpRequest, model_admin: Any, key: str) -> HttpResponse:
    if not request.user.has_perm(permissions.ADD_EXCHANGE):
        raise PermissionDenied
    context = {
        **model_admin.admin_site.each_context(request),
        **_progress(key),
        "title": "Adding an exchange",
        "media": model_admin.media,
    }
    return TemplateResponse(request, "admin/exchanges/adding.html", context)


def progress_fragment(request: HttpRequest, key: str) -> HttpResponse:
    return render(request, "admin/exchanges/progress.html", _progress(key))


def _start(request: HttpRequest, form: Any) -> str:
    """Starts the task and returns the key of its progress; empty, with a message, when nothing could be started."""
    exchange_id = form.cleaned_data["exchange"]
    sealed = secrets.seal_text(json.dumps(form.wanted()))  # a proxy's password may be in it
    is_probe = "probe" in request.POST
    try:
        key = progress.begin(exchange_id, is_probe=is_probe)
    except redis.RedisError:
        messages.error(request, "The queue cannot be reached, so nothing was started. Try again in a moment.")
        return ""
    details = {"exchange_id": exchange_id, "sealed": sealed, "progress_key": key}
    if is_probe:
        return key if send(request, tasks.probe_exchange, **details) else ""
    who = call(request)
    is_sent = send(request, tasks.add_exchange, by=who["by"], origin=who["origin"], **details)
    return key if is_sent else ""


def _progress(key: str) -> dict[str, Any]:
    try:
        found = progress.find(key)
    except redis.RedisError:
        return {"key": key, "is_lost": True}
    if found is None:
        return {"key": key, "is_gone": True}
    missing = "skipped" if found.state == progress.FAILED else "asking"
    return {
        "key": key,
        "progress": found,
        "check_rows": panels.rows_of(found.findings, missing=missing),
        "is_waiting": found.state == progress.WAITING,
        "is_done": found.state == progress.DONE,
        "is_failed": found.state == progress.FAILED,
    }
