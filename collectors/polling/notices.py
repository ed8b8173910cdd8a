"""What a stored poll has to say beside its rows: what came and could not be used, and what did not come."""

from __future__ import annotations

from feeds.base import MissingPart, Poll

MOST_PARTS = 5


def of_poll(poll: Poll, *, stored_count: int, usual_count: int | None) -> str:
    """Returns the notice of a stored run, empty if there is none; `usual_count` is given where the rows are too few."""
    said = []
    if usual_count is not None:
        said.append(f"{stored_count} good rows, {usual_count} are usual: these are stored, the others are silent")
    said += [_of_part(part) for part in poll.missing[:MOST_PARTS]]
    if len(poll.missing) > MOST_PARTS:
        said.append(f"{len(poll.missing) - MOST_PARTS} more parts are missing")
    if poll.unknown_count:
        named = ", ".join(name[:100] for name in poll.unknown_ids)
        said.append(f"{poll.unknown_count} rows of markets that are not in the list: {named}")
    return "; ".join(said)


def _of_part(part: MissingPart) -> str:
    return f"{part.part} is missing ({len(part.symbols)} markets): {part.kind}: {part.reason[:300]}"
