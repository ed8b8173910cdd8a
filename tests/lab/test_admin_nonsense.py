"""Whatever is sent to the admin, in thousands of requests, it never answers 500."""

from __future__ import annotations

import pytest
from django.test import Client

from access.models import ApiKey
from tests.admin.conftest import operator
from tests.admin.fuzz import admin_places, fuzz
from tests.admin.test_nonsense import key
from tests.api.conftest import Fill, now, world

__all__ = ["key", "now", "operator", "world"]

pytestmark = pytest.mark.timeout(1200)


@pytest.mark.parametrize("seed", range(10, 18))
def test_nonsense_is_never_a_failure_of_ours(operator: Client, world: Fill, key: ApiKey, seed: int) -> None:
    world(4)

    found = fuzz(operator, requests=4 * len(list(admin_places())), seed=seed)

    assert found.failures == []
    assert found.statuses[200] > 20
