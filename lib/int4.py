"""Numbers that PostgreSQL sends packed: 50,000 of them are one value instead of 50,000 rows."""

from __future__ import annotations

import sys
from array import array


def unpack(packed: bytes | memoryview | None) -> array[int]:
    """Returns the numbers of `string_agg(int4send(number), ''::bytea)` in their order; none where it gave NULL."""
    numbers = array("i", bytes(packed or b""))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
