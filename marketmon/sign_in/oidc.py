"""Sign-in by an OpenID Connect server of the operator's own: whom it names, and which of our groups they get."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import requests
import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

log: Any = structlog.get_logger(__name__)


def roles_of(claims: dict[str, Any]) -> list[str]:
    """Returns our groups for what the server says of somebody, in order and each once."""
    named = claims.get(settings.OIDC_ROLES_CLAIM) or []
    groups: Iterable[Any] = [named] if isinstance(named, str) else named
    return sorted({settings.OIDC_ROLES[group] for group in map(str, groups) if group in settings.OIDC_ROLES})


class OwnServer(DefaultSocialAccountAdapter):
    """Whoever the server names may sign in when they have a role; without OIDC_ROLES, when they are here already."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return bool(roles_of(_claims(sociallogin)))

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuses who has no role, and gives who is here already the groups of today."""
        _forget_unproven_addresses(sociallogin)
        roles = roles_of(_claims(sociallogin))
        if (settings.OIDC_ROLES or not sociallogin.is_existing) and not roles:
            log.warning("sign_in_without_role", account=str(sociallogin.account.uid)[:100])
            words = {"name": settings.OIDC_NAME}
            raise ImmediateHttpResponse(render(request, "sign_in/no_role.html", words, status=403))
        if sociallogin.is_existing and settings.OIDC_ROLES:
            give_roles(sociallogin.user, roles)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        give_roles(user, roles_of(_claims(sociallogin)))
        return user

    def on_authentication_error(self, request: HttpRequest, provider: Any, **more: Any) -> None:
        log.warning(
            "sign_in_failed_elsewhere", error=str(more.get("error")), cause=type(more.get("exception")).__name__
        )
        raise ImmediateHttpResponse(_failed(request))


View = Callable[..., HttpResponseBase]


def in_words(view: View) -> View:
    """Returns the view with an answer in words where the server is away, or describes itself in a way nobody knows."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **more: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **more)
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("sign_in_failed_elsewhere", error=str(error)[:300], cause=type(error).__name__)
            return _failed(request)

    return answered


def _failed(request: HttpRequest) -> HttpResponse:
    return render(request, "sign_in/failed.html", {"name": settings.OIDC_NAME}, status=502)


def give_roles(user: User, roles: list[str]) -> None:
    """Sets the groups that OIDC_ROLES speaks of. What an administrator has added by hand stays, as do superusers."""
    if user.is_superuser:
        return
    if not user.is_staff:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
    spoken_of = set(settings.OIDC_ROLES.values())
    user.groups.remove(*Group.objects.filter(name__in=spoken_of - set(roles)))
    user.groups.add(*Group.objects.filter(name__in=roles))


def _forget_unproven_addresses(sociallogin: SocialLogin) -> None:
    """Forgets an address that the server does not call verified: it is no proof of anything, and may be another's."""
    sociallogin.email_addresses = [each for each in sociallogin.email_addresses if each.verified]
    if not sociallogin.is_existing and not sociallogin.email_addresses:
        sociallogin.user.email = ""


def _claims(sociallogin: SocialLogin) -> dict[str, Any]:
    """Returns what the server says: in its answer about the user, else in the token."""
    data = sociallogin.account.extra_data
    return {**(data.get("id_token") or {}), **(data.get("userinfo") or {})} or dict(data)
