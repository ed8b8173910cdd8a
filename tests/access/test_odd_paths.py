"""Paths of the admin's keys that lead to no key."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.mark.parametrize("text", ["x", "1.5", "-0", "9" * 40, "2026-02-30", "%25"])
def test_to_rotate_what_is_no_key_is_not_found(db: None, text: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("olga", password="correct horse battery"))

    assert client.get(f"/admin/access/apikey/{text}/rotate/").status_code == 404
