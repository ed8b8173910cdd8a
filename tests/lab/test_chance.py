"""Time lines and crowds by chance: what `make test` tries a few times, tried often."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.gaps.conftest import Field
from tests.gaps.test_crowd import crowd
from tests.gaps.test_timeline import LINE, play


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [pytest.param(12, marks=pytest.mark.smoke), 400])
def test_everything_is_live_stopped_or_a_gap(transactional_db: None, count: int) -> None:
    @given(**LINE)
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    def tried(**line: object) -> None:
        play(**line)

    tried()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(100, 500, 100))
def test_a_crowd_leaves_every_gap_once_and_every_count_right(field_: Field, seed: int) -> None:
    crowd(field_, seconds=30.0, seed=seed)
