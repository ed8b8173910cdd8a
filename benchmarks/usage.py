"""What groups of processes use: CPU time added up over their lives, and memory shared fairly (PSS)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 1.0  # a process that lives shorter is not seen


@dataclass
class Usage:
    """`roots` by group name; children belong to their root's group."""

    roots: Mapping[str, int]
    _begun: dict[int, float] = field(default_factory=dict)
    _latest: dict[int, tuple[str, float]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Usage:
        self._sample()
        self._begun = {pid: seconds for pid, (_, seconds) in self._latest.items()}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def cpu_seconds(self) -> dict[str, float]:
        """Since the beginning, by group. A process that began later counts from its birth."""
        used = dict.fromkeys(self.roots, 0.0)
        for pid, (group, seconds) in self._latest.items():
            used[group] += seconds - self._begun.get(pid, 0.0)
        return used

    def memory_mb(self) -> dict[str, float]:
        """PSS now, by group."""
        return {group: sum(_pss(one) for one in _family(pid)) / 1e6 for group, pid in self.roots.items()}

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        for group, root in self.roots.items():
            for one in _family(root):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    self._latest[one.pid] = group, times.user + times.system


def _family(root: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(root)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(one: psutil.Process) -> float:
    try:
        return float(one.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0.0
