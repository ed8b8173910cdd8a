"""What a stored poll has to say beside its rows: what came and could not be used, and what did not come."""

from __future__ import annotations

from collections.abc import Sequence

from collectors.rules.quote_checks import JudgedQuotes
from feeds.base import MissingPart, Poll, RejectedRow

MOST_PARTS = 5
MOST_NAMES = 3


def of_poll(poll: Poll, verdict: JudgedQuotes, *, usual_count: int | None) -> str:
    """Returns the notice of a stored run, empty if there is none; `usual_count` is given where the rows are too few."""
    said = []
    if usual_count is not None:
        count = len(verdict.accepted)
        said.append(f"{count} good rows, {usual_count} are usual: these are stored, the others are silent")
    said += [_of_part(part) for part in poll.missing[:MOST_PARTS]]
    if len(poll.missing) > MOST_PARTS:
        said.append(f"{len(poll.missing) - MOST_PARTS} more parts are missing")
    if poll.unknown_count:
        named = ", ".join(name[:100] for name in poll.unknown_ids)
        said.append(f"{poll.unknown_count} rows of markets that are not in the list: {named}")
    if verdict.repaired:
        said.append(of_repaired(verdict.repaired))
    return "; ".join(said)


def of_repaired(rows: Sequence[RejectedRow]) -> str:
    """Says which rows were stored without a part of them, and why."""
    named = ", ".join(row.symbol for row in rows[:MOST_NAMES])
    more = f" and {len(rows) - MOST_NAMES} more" if len(rows) > MOST_NAMES else ""
    return f"{len(rows)} stored without the time that the exchange gave ({rows[0].reason}): {named}{more}"


def _of_part(part: MissingPart) -> str:
    return f"{part.part} is missing ({len(part.symbols)} markets): {part.kind}: {part.reason[:300]}"
