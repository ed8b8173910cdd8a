"""A used home without its sandbox: what is simulated stops as planned, and comes back with it."""

from __future__ import annotations

import pytest

from collectors.models import Worker
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock
from operations import commands, simulated

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two() -> None:
    commands.create("kraken", by="first run", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)
    commands.create("luno", by="first run", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)
    commands.create("bitstamp", by="olga", now=clock.now())


def collected() -> set[str]:
    return set(Exchange.objects.collected().values_list("pk", flat=True))


def test_without_a_sandbox_what_is_simulated_is_disabled_and_nothing_else(two: None) -> None:
    assert simulated.follow(is_on=False, now=clock.now()) == ["kraken", "luno"]

    assert collected() == {"bitstamp"}
    assert Worker.objects.get(pk="kraken").status == "stopped"
    assert simulated.follow(is_on=False, now=clock.now()) == []


def test_with_the_sandbox_it_is_back_but_for_what_a_person_has_stopped(two: None) -> None:
    commands.disable("luno", by="olga", now=clock.now(), reason="too loud")
    simulated.follow(is_on=False, now=clock.now())

    assert simulated.follow(is_on=True, now=clock.now()) == ["kraken"]
    assert collected() == {"bitstamp", "kraken"}


def test_what_a_person_enables_meanwhile_and_disables_again_stays_so(two: None) -> None:
    simulated.follow(is_on=False, now=clock.now())
    commands.enable("kraken", by="olga", now=clock.now())
    commands.disable("kraken", by="olga", now=clock.now())

    assert simulated.follow(is_on=True, now=clock.now()) == ["luno"]
