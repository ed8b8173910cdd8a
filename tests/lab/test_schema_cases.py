"""Thousands of cases of schemathesis over the whole description, sent to the real web with the right keys.

Whatever is sent, no answer is a 5xx but a documented 503, and every answer is one that the description has.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from collectors.history import partitions
from exchanges.models import Market
from lib import clock
from tests.api.conftest import fill, make_exchange
from tests.status.running import Web, web
from tests.world import beat_was_seen

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(3600)]
CASES = int(os.environ.get("SCHEMA_CASES", "6000"))
ADMIN_KEY, TOKEN = "q9Zr2Lw8Xk4Tn7Bv3Mf6Hj1Pd5Gs0Yc2", "let-me-in"
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance,
]  # fmt: skip
# What a path may name that is there, so that not all answers are 404.
KNOWN = {"exchange": "kraken", "exchange_id": "kraken"}
WITH_500 = {"POST /api/v1/exchanges/workers/{exchange}/restart/", "GET /health"}
HEALTH = [*HealthCheck]


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web with two exchanges, some rows of each kind, and no limit on how much one caller may ask."""
    now = clock.now()
    partitions.ensure(now)
    for exchange_id in ("binance", "kraken"):
        make_exchange(exchange_id, now)
    fill(100, now)
    beat_was_seen()
    for name, value in {
        "ADMIN_API_KEY": ADMIN_KEY, "METRICS_WEBHOOK_TOKEN": TOKEN, "METRICS_WEBHOOK_OPEN": "off",
        "PUBLIC_DATA_PER_MINUTE": "1000000",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with web() as server:
        yield server


@pytest.fixture
def key(key_of: Callable[..., str]) -> str:
    """A key that may ask for everything, as often as it likes."""
    names = ("requests_per_minute", "requests_per_hour", "monthly_requests", "monthly_credits")
    return key_of("pro", tier_changes={"is_metered": False, **dict.fromkeys(names)})


class Findings:
    """What was answered, and what of it the description does not have."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: dict[str, str] = {}

    def note(self, label: str, case: Any, session: requests.Session) -> None:
        response = case.call(session=session, timeout=60)
        self.cases[label] += 1
        self.statuses[response.status_code] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                if not is_documented(case, response, failure):
                    words = " ".join(str(failure).split())[:400]
                    title = f"{label}: {response.status_code} {type(failure).__name__}: {words[:60]}"
                    self.faults.setdefault(
                        title, f"{words}\n    {case.as_curl_command()[:1500]}\n    {response.text[:300]}"
                    )


def is_documented(case: Any, response: Any, failure: Any) -> bool:
    """Says whether a server's error is one that the description has: a 503, or where the contract wants a 500."""
    documented = case.operation.definition.raw.get("responses", {})
    is_known = response.status_code == 503 or case.operation.label in WITH_500
    return type(failure).__name__ == "ServerError" and is_known and str(response.status_code) in documented


def try_operation(operation: Any, session: requests.Session, found: Findings, *, examples: int) -> None:
    label = operation.label

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @settings(
            max_examples=examples, deadline=None, suppress_health_check=HEALTH, database=None, derandomize=True,
            phases=[Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def probe(case: Any) -> None:
            if found.cases[label] % 2:
                for name, value in KNOWN.items():
                    if name in (case.path_parameters or {}):
                        case.path_parameters[name] = value
            found.note(label, case, session)

        try:
            probe()
        except Exception as error:
            if not re.search(r"Unsatisfiable|cannot|negat", f"{type(error).__name__} {error}"):
                raise


def test_every_answer_is_one_that_the_description_has(running: Web, key: str) -> None:
    session = requests.Session()
    session.trust_env = False
    session.headers.update({"X-Admin-Key": ADMIN_KEY, "X-API-Key": key, "X-Webhook-Token": TOKEN})
    described = schemathesis.openapi.from_url(f"{running.url}/api/schema/?format=json", headers=dict(session.headers))
    operations = [result.ok() for result in described.get_all_operations()]
    found = Findings()

    for operation in operations:
        try_operation(operation, session, found, examples=-(-CASES // (2 * len(operations))))

    sys.stdout.write(f"\n{found.cases.total()} cases of {len(operations)} operations: {dict(found.statuses)}\n")
    for title, words in sorted(found.faults.items()):
        sys.stdout.write(f"{title}\n    {words}\n")
    sys.stdout.flush()
    assert Market.objects.exists()
    assert sorted(found.faults) == []
    assert found.cases.total() >= CASES * 5 // 6  # some operations have nothing that could be wrong
