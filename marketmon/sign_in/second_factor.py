"""The second factor: its secrets are sealed like those of exchanges, and where it is required nothing goes without."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from exchanges import secrets
from exchanges.resealing import ResealedSecret
from lib.problems import problem
from web.middleware import API_PATH

SECRETS = ("secret", "seed")  # of codes, and of recovery codes
PROVEN = "second_factor_is_there"
OPEN_PATHS = ("/accounts/", "/static/", "/admin/login/", "/admin/logout/", "/admin/jsi18n/")


class SealedFactors(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return secrets.seal_text(text)

    def decrypt(self, encrypted_text: str) -> str:
        return secrets.unseal_text(encrypted_text)


class RequireSecondFactor:
    """Leads who has signed in by password alone to set up a second factor, and opens nothing else to them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self._is_open(request) or _is_proven(request):
            return self.get_response(request)
        if API_PATH.match(request.path_info):
            return problem(403, f"A second factor is required: set one up at {reverse('mfa_index')}.")
        return HttpResponseRedirect(reverse("mfa_activate_totp"))

    def _is_open(self, request: HttpRequest) -> bool:
        is_known = settings.SESSION_COOKIE_NAME in request.COOKIES
        return not is_known or request.path_info.startswith(OPEN_PATHS) or not request.user.is_authenticated


def _is_proven(request: HttpRequest) -> bool:
    """Says whether this person has a factor, or signed in elsewhere, where that is asked for. Remembered by the
    session: who takes the factor away ends the session, too."""
    if request.session.get(PROVEN):
        return True
    methods = {record.get("method") for record in get_authentication_records(request, request.user)}
    is_there = "socialaccount" in methods or Authenticator.objects.filter(user_id=request.user.pk, type="totp").exists()
    if is_there:
        request.session[PROVEN] = True
    return is_there


def reseal() -> Iterator[ResealedSecret]:
    """Seals all secrets of factors anew, as `exchanges.resealing` does with its own."""
    for factor in Authenticator.objects.order_by("pk"):
        for name in SECRETS:
            if name in factor.data:
                yield _resealed(factor, name)


def _resealed(factor: Authenticator, name: str) -> ResealedSecret:
    whose = f"second factor of user {factor.user_id}"
    try:
        data = {**factor.data, name: secrets.resealed(factor.data[name])}
    except InvalidToken:
        return ResealedSecret(whose, was_opened=False)
    Authenticator.objects.filter(pk=factor.pk, data=factor.data).update(data=data)
    factor.data = data
    return ResealedSecret(whose, was_opened=True)
