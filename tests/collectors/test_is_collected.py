"""Whether a market or an exchange is collected stands in one column, true whoever wrote the row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import connection

from collectors.models import Pipeline
from exchanges.models import Exchange, Market

ROOT = Path(__file__).parents[2]
WRITTEN_OUT = re.compile(
    r"NOT (\w+\.)?(blacklisted|excluded)\b|blacklisted=False, excluded=False|enabled=True, blacklisted=False"
)


@pytest.mark.parametrize(
    ("active", "blacklisted", "excluded"),
    [(True, False, False), (False, False, False), (True, True, False), (True, False, True)],
)
def test_a_market_is_collected_while_it_is_listed_and_nobody_has_taken_it_out(world, active, blacklisted, excluded):
    """In SQL that knows nothing of the column, as the release before writes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE exchanges_market SET active = %s, blacklisted = %s, excluded = %s", [active, blacklisted, excluded]
        )

    wanted = active and not blacklisted and not excluded
    assert {market.is_collected for market in Market.objects.all()} == {wanted}
    assert Market.objects.collected().exists() is wanted
    assert Pipeline.objects.live().exists() is wanted


@pytest.mark.parametrize(("enabled", "blacklisted"), [(True, False), (False, False), (True, True), (False, True)])
def test_an_exchange_is_collected_while_it_is_enabled_and_not_blacklisted(world, enabled, blacklisted):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE exchanges_exchange SET enabled = %s, blacklisted = %s", [enabled, blacklisted])

    wanted = enabled and not blacklisted
    assert Exchange.objects.get().is_collected is wanted
    assert Exchange.objects.collected().exists() is wanted
    assert Pipeline.objects.live().exists() is wanted


def test_a_new_exchange_knows_at_once_whether_it_is_collected(db):
    assert Exchange.objects.create(id="kraken").is_collected
    assert not Exchange.objects.create(id="luno", enabled=False).is_collected


def test_no_query_writes_the_condition_out():
    packages = ("access", "board", "collectors", "exchanges", "incidents", "marketmon", "metrics", "operations", "web")
    sources = [path for name in packages for path in (ROOT / name).rglob("*.py") if "migrations" not in path.parts]

    found = {path.relative_to(ROOT) for path in sources if WRITTEN_OUT.search(path.read_text())}

    assert found == {Path("exchanges/models.py")}
