"""The admin's sign-in: passwords cannot be guessed at speed, and others' guesses do not keep the right person out.

Wrong tries are counted for each account and address together, and for each address over all accounts. From an address
that has signed in to the account before, the password is always looked at.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from math import ceil
from typing import Any

import structlog
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from access import tries
from access.addresses import customer_of
from access.tries import Tries

FREE = 5  # slips of the hand; then 1, 2, 4 s and so on: about 110 guesses a day
FREE_OF_ADDRESS = 30  # over all accounts: an office behind one address slips more often
KNOWN_SECONDS = 90 * 24 * 3600

log: Any = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignInCaller:
    """A person who wants to sign in, and the address they come from."""

    account: str
    customer: str

    @property
    def together(self) -> Tries:
        return Tries(f"sign-in:{self.account}:{self.customer}", FREE)

    @property
    def of_address(self) -> Tries:
        return Tries(f"sign-in:{self.customer}", FREE_OF_ADDRESS)

    @property
    def is_known(self) -> bool:
        return tries.is_remembered(f"sign-in:{self.account}:{self.customer}")

    def remember(self) -> None:
        tries.remember(f"sign-in:{self.account}:{self.customer}", KNOWN_SECONDS)


class PasswordView(LoginView):
    """The admin's sign-in page; after the password a second factor may be asked for, before anybody is signed in."""

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        login = Login(user=form.get_user(), redirect_url=self.get_success_url())
        credentials = {"username": form.cleaned_data["username"]}
        response: HttpResponse = perform_password_login(self.request, credentials, login)
        return response


def login(request: HttpRequest) -> HttpResponseBase:
    if request.method != "POST":
        return _page(request)
    caller = SignInCaller(_account(request), customer_of(request))
    is_known = caller.is_known
    wait = 0.0 if is_known else _reserve(caller)
    if wait > 0:
        log.warning("sign_in_throttled", origin=caller.customer)
        return _too_many(ceil(wait))
    response = _page(request)
    if response.status_code == 302:
        _was_right(caller, was_counted=not is_known)
    else:
        log.warning("sign_in_wrong", origin=caller.customer)
    return response


def _page(request: HttpRequest) -> HttpResponseBase:
    """Returns what `AdminSite.login` would, whose own view cannot be chosen."""
    site = admin.site
    if request.method == "GET" and site.has_permission(request):
        return HttpResponseRedirect(reverse("admin:index"))
    context = {
        **site.each_context(request),
        "title": "Log in",
        "app_path": request.get_full_path(),
        "username": request.user.get_username(),
        "other_way": settings.OIDC_NAME if settings.OIDC_SERVER_URL else "",
    }
    if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
        context[REDIRECT_FIELD_NAME] = reverse("admin:index")
    request.current_app = site.name
    view = PasswordView.as_view(
        extra_context=context,
        authentication_form=site.login_form or AdminAuthenticationForm,
        template_name=site.login_template or "admin/login.html",
    )
    return view(request)


def _reserve(caller: SignInCaller) -> float:
    """Counts the try before the password is looked at; returns seconds to wait when it comes too early."""
    wait = tries.take(caller.of_address)
    if wait > 0:
        return wait
    wait = tries.take(caller.together)
    if wait > 0:
        tries.give_back(caller.of_address)
    return wait


def _was_right(caller: SignInCaller, *, was_counted: bool) -> None:
    tries.forget(caller.together)
    if was_counted:  # signing in to one's own account does not clear guesses at another
        tries.give_back(caller.of_address)
    caller.remember()


def _account(request: HttpRequest) -> str:
    """Returns the name as Django's form reads it, so that each spelling is the same account; hashed for its length."""
    name = unicodedata.normalize("NFKC", request.POST.get("username", "")).strip().casefold()
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]


def _too_many(seconds: int) -> HttpResponse:
    text = f"Too many wrong sign-ins to this account from your address. Try again in {max(1, seconds)} s.\n"
    response = HttpResponse(text, status=429, content_type="text/plain; charset=utf-8")
    response.headers["Retry-After"] = str(max(1, seconds))
    response.headers["Cache-Control"] = "no-store"
    return response
