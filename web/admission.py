"""How many requests of each kind may run at once, and how long the others wait: the one place for all routes.

Each kind has threads of its own. So what is dear to answer can be asked by anybody and never takes the threads that
answer everything else, and no request of any kind takes those of the probes. Who waits takes no thread, and is told to
come again when its turn does not come in time. What may compute for long is answered in a process beside the probes'
(`web.answering_process`): threads of one process take turns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Room:
    """The threads for one kind of requests, how long a request waits for one, and how many may wait.

    `is_beside`: they only wait for the process that answers beside this one.
    """

    name: str
    threads: int
    wait_seconds: float = PATIENCE_SECONDS
    most_waiting: int = 200
    is_beside: bool = False


# It asks nobody, so nothing can hold its thread; the others ask servers that may stand still.
LIVE = Room("live", 1)
PROBES = Room("probe", 2)
# A second call of the webhook waits for the first one for half a minute: that is its documented time.
COLLECTION = Room("collection", 2, wait_seconds=30.0, is_beside=True)
# Until the first part of a download is there; the others are made elsewhere. The third is told that two are running.
EXPORTS = Room("export", 3)
# Lists of the history, and what is computed of all exchanges: up to a second of computing each. More at once would only
# share the same core.
READS = Room("read", 3, is_beside=True)
# Bodies that the pulse has rendered, handed out as they are: half a millisecond each.
STATUS = Room("status", 8)
OTHERS = Room("web", 8, is_beside=True)
ROOMS = (LIVE, PROBES, COLLECTION, EXPORTS, READS, STATUS, OTHERS)

BY_NAME = {room.name: room for room in ROOMS}
NAMED_PATHS = re.compile(  # a group is named as its room
    r"/(?:(?P<live>live)|(?P<probe>ready|health)|(?P<collection>metrics/collect|regime/analyze)"
    r"|(?P<status>v1/.*|api/v1/(?:market|exchanges)/workers/status)"
    r"|(?P<export>api/v1/[a-z]+/export)|(?P<read>metrics(?:/history)?|regime/current|grids/status"
    r"|api/v1/(?:pipelines|runs|gaps|transitions|orderbooks|trades|funding|markets|candles|quality)(?:/.*)?))/?",
    re.DOTALL,
)


def room_of(path: str) -> Room:
    """Returns where a request with this path is answered."""
    found = NAMED_PATHS.fullmatch(path)
    return BY_NAME[str(found.lastgroup)] if found else OTHERS
