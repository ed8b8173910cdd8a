"""The blocks of docs/settings.md that settings_table and retired_settings write themselves; the prose is ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lib.environment import Setting, number
from marketmon.retired_settings import RETIRED
from marketmon.settings_table import COMBINATIONS, SECTIONS, Section

COMBINATIONS_TITLE = "What must fit together"
RETIRED_TITLE = "Once settings, now fixed"


def blocks() -> dict[str, list[str]]:
    """Returns the lines under each heading that the tables decide."""
    found = {section.title: section_lines(section) for section in SECTIONS}
    found[COMBINATIONS_TITLE] = [
        f"- {', '.join(f'`{name}`' for name in each.names)}: {each.sentence}." for each in COMBINATIONS
    ]
    rows = [
        (f"`{each.name}`", f"{each.value:g}" if each.value < 1 else number(each.value), f"`{each.place}`")
        for each in RETIRED
    ]
    found[RETIRED_TITLE] = _table(("name", "is now always", "where, with the reason"), rows)
    return found


def section_lines(section: Section) -> list[str]:
    rows = [(f"`{each.name}`", default_in_words(each), each.allowed, each.sentence) for each in section.settings]
    return _table(("name", "default", "allowed", "what"), rows)


def default_in_words(setting: Setting) -> str:
    return setting.usually or in_words(setting.default)


def in_words(value: Any) -> str:
    """Writes a value as an operator would write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, dict):
        return f"`{value}`"
    return number(value) or "empty"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(head), "|" + "---|" * len(head), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def rewritten(page: str) -> str:
    """Returns the page with its blocks as the tables want them. Raises ValueError without a heading or its block."""
    lines = page.splitlines()
    for title, block in blocks().items():
        start = lines.index(f"## {title}")
        first = next((n for n in range(start + 1, len(lines)) if lines[n][:2] in ("| ", "- ", "##")), len(lines))
        if first == len(lines) or lines[first].startswith("##"):
            raise ValueError(f"nothing stands under {title!r} that could be replaced")
        last = next((n for n in range(first, len(lines)) if not lines[n].startswith(lines[first][0])), len(lines))
        lines[first:last] = block
    return "\n".join(lines) + "\n"
