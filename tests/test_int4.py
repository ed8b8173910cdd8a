"""Numbers that PostgreSQL sends packed."""

import pytest
from django.db import connection

from lib import int4

PACK = """
SELECT string_agg(int4send(number), ''::bytea ORDER BY place)
FROM unnest(%s::int[]) WITH ORDINALITY AS given (number, place)
"""


@pytest.mark.parametrize("numbers", [[], [0], [1, -1, 256, 2**31 - 1, -(2**31)]])
def test_packed_numbers_come_out_as_they_went_in(db, numbers):
    with connection.cursor() as cursor:
        cursor.execute(PACK, [numbers])
        assert list(int4.unpack(cursor.fetchone()[0])) == numbers
