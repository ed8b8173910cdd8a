"""Every route by every kind of caller with every method, those that no route has among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.access.test_matrix import CALLERS, METHODS, as_, wrong_answers
from tests.board.test_roles import made

__all__ = ["as_", "made"]


@pytest.mark.parametrize("caller", CALLERS)
def test_no_method_opens_what_another_does_not(as_: Callable[[str], Client], settings: Any, caller: str) -> None:
    settings.METRICS_WEBHOOK_TOKEN, settings.METRICS_WEBHOOK_OPEN = "", False

    assert wrong_answers(as_(caller), caller, beside=frozenset(METHODS)) == []
