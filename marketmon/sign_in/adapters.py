"""What allauth asks us about accounts: there is no signing up, and whose address a session has."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse

from access.addresses import caller_address


class Accounts(DefaultAccountAdapter):
    """Accounts are made by administrators; their passwords change in the admin."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        meta = request.META
        found = caller_address(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""))
        return str(found or meta.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104 - nobody's address, none to listen on

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:index")

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:login")

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Says nothing of every sign-in: the page that follows is the message."""
