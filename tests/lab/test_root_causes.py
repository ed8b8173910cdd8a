"""The root is named right: each of more than forty faults alone, and each with each other, with the matrix printed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import combinations

import pytest

from tests.lab.pretended import BEGAN, FAULTS, Book, Fault, Pretended, found, may_be_hidden, may_be_told_instead

STEP_SECONDS = 5
LASTS_SECONDS = 210  # a stream is missed after two minutes
LATER_SECONDS = 60
LEAST_SHARE = 0.95


def roots_of(faults: Sequence[tuple[Fault, int]]) -> set[str]:
    """The roots that somebody was told of, when each fault began so many seconds after the beginning."""
    world = Pretended([(fault, BEGAN + timedelta(seconds=seconds)) for fault, seconds in faults])
    book = Book()
    for _ in range(0, LASTS_SECONDS, STEP_SECONDS):
        signs = world.step(STEP_SECONDS)
        book.follow(found(world, signs), world.now)
    return book.told


def is_right(told: set[str], faults: Sequence[Fault]) -> bool:
    """Every root is told, unless another fault hides it; and nothing else is."""
    hidden = {one.root for one in faults for other in faults if one is not other and may_be_hidden(one, other)}
    roots = {fault.root for fault in faults}
    return roots - hidden <= told <= roots | may_be_told_instead(faults) and bool(told)


@pytest.mark.smoke
def test_each_fault_alone_has_one_root() -> None:
    wrong = {fault.name: told for fault in FAULTS if (told := roots_of([(fault, 0)])) != {fault.root}}

    assert len(FAULTS) >= 40
    assert not wrong


def test_nothing_is_told_where_nothing_is_broken() -> None:
    assert roots_of([]) == set()


def pairs() -> Iterator[tuple[tuple[Fault, int], tuple[Fault, int]]]:
    for number, (one, other) in enumerate(combinations(FAULTS, 2)):
        yield (one, 0), (other, 0)
        if number % 2:
            yield (one, 0), (other, LATER_SECONDS)


@pytest.mark.timeout(3600)
def test_the_root_is_named_right_in_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    right, confused = Counter[str](), Counter[tuple[str, str]]()
    wrong = []
    for first, second in pairs():
        faults = [first[0], second[0]]
        told = roots_of([first, second])
        is_good = is_right(told, faults)
        right["both at once" if second[1] == 0 else "one after the other"] += is_good
        right["all"] += 1
        for fault in faults:
            named = fault.kind if fault.root in told else "hidden" if is_good else "missed"
            confused[fault.kind, named] += 1
        for extra in told - {fault.root for fault in faults}:
            confused["nothing", extra if extra.startswith("system:") else extra.partition(":")[0]] += 1
        if not is_good:
            wrong.append(f"{faults[0].name} + {faults[1].name} after {second[1]} s: told {sorted(told)}")
    total = right.pop("all")
    with capsys.disabled():
        print_matrix(confused)
        share = 100 * sum(right.values()) / total
        say(f"\n{len(FAULTS)} faults, {total} pairs: {sum(right.values())} named right ({share:.1f} %) {dict(right)}")
        say("\n".join(wrong[:60]))

    assert sum(right.values()) >= LEAST_SHARE * total


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def print_matrix(confused: Counter[tuple[str, str]]) -> None:
    """What was broken, and as what it was named."""
    rows, columns = (sorted({key[place] for key in confused}) for place in (0, 1))
    wide = max(map(len, rows)) + 1
    say("\n" + " " * wide + " ".join(name.removeprefix("system:")[:8].rjust(8) for name in columns))
    for row in rows:
        say(row.ljust(wide) + " ".join(str(confused[row, column] or ".").rjust(8) for column in columns))
