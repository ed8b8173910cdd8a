"""A database that stores nothing, as a replica before its promotion: every verb answers 503, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client

from exchanges.models import Exchange
from tests.api.conftest import operator as somebody_signed_in
from tests.operations.conftest import Make

__all__ = ["somebody_signed_in"]
pytestmark = pytest.mark.django_db(transaction=True)
EXCHANGES = "/api/v1/exchanges"


@pytest.fixture
def kraken(make: Make) -> Exchange:
    return make("kraken")


@pytest.fixture
def read_only(kraken: Exchange, somebody_signed_in: Client) -> Iterator[None]:
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    connection.close()
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    connection.close()


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("post", f"{EXCHANGES}/workers/kraken/restart"),
        ("post", f"{EXCHANGES}/blacklist/kraken"),
        ("delete", f"{EXCHANGES}/blacklist/kraken"),
    ],
)
def test_a_verb_answers_503(operator: Client, read_only: None, method: str, route: str) -> None:
    response = getattr(operator, method)(route)

    assert response.status_code == 503
    assert response["Content-Type"] == "application/json"


def test_a_page_that_writes_answers_503(somebody_signed_in: Client, read_only: None) -> None:
    somebody_signed_in.raise_request_exception = False

    response = somebody_signed_in.post("/admin/logout/")

    assert response.status_code == 503
    assert "The database is read-only: nothing is stored" in response.content.decode()


def test_what_only_reads_goes_on(operator: Client, read_only: None) -> None:
    assert operator.get("/api/v1/gaps").status_code == 200
    assert operator.get(f"{EXCHANGES}/workers/status").status_code == 200
