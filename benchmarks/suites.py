"""The suites by name, and how one is run: at its full sizes, or as a smoke that only proves that it still runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

from benchmarks.comparison import Comparison

SUITES: Mapping[str, str] = {
    "ingest": "benchmarks.ingest",
    "parse": "benchmarks.parsing",
    "memory": "benchmarks.memory",
    "downloads": "benchmarks.downloads",
    "reading": "benchmarks.reading",
    "webhook": "benchmarks.webhook",
    "gaps": "benchmarks.gaps",
    "board": "benchmarks.board",
    "streaming": "benchmarks.streaming",
    "archive": "benchmarks.archive",
}
# These take minutes or hours and have options of their own: `python -m benchmarks.system`, `python -m benchmarks.soak`.
WHOLE_SYSTEM: Mapping[str, str] = {"system": "benchmarks.system", "soak": "benchmarks.soak"}
WITH_SERVERS_OF_ITS_OWN = frozenset({"soak"})


class Suite(Protocol):
    """A module of this package. Its two sizes are values of one dataclass of its own."""

    FULL: Any
    SMOKE: Any

    def comparisons(self, sizes: Any) -> Iterator[Comparison]: ...


def measure(name: str) -> Iterator[Comparison]:
    """The suite's comparisons at full size."""
    suite = _load(name)
    yield from suite.comparisons(suite.FULL)


def smoke(name: str) -> Iterator[Comparison]:
    """The same comparisons at tiny sizes, which say nothing about a goal and therefore have none."""
    suite = _load(name)
    for one in suite.comparisons(suite.SMOKE):
        yield replace(one, goal=None)


def _load(name: str) -> Suite:
    return cast(Suite, importlib.import_module({**SUITES, **WHOLE_SYSTEM}[name]))
