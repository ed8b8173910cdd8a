"""Every process of the running system is killed, and killed again."""

from __future__ import annotations

import pytest

from tests.system.conftest import System
from tests.system.test_running_system import kill_and_wait

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
PATTERNS = {
    "worker": r"celery.* worker",
    "stream": r"manage.py stream",
    "pulse": r"manage.py pulse",
    "Valkey": r"valkey-server",
    "PostgreSQL": r"bin/postgres -D",
    "web": r"granian",
}


@pytest.mark.smoke
def test_a_killed_beat_is_back_and_nothing_is_doubled(system: System) -> None:
    kill_and_wait(system, r"celery.* beat")


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=list(PATTERNS))
def test_a_killed_process_is_back_and_nothing_is_doubled(system: System, pattern: str) -> None:
    for _ in range(3):
        kill_and_wait(system, pattern)
