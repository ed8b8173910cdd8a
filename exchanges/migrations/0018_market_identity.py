"""A market is what has the exchange's id: each id once for a kind of market, every market keeps its number.

Of several rows of one id the active one is that market, or the one that was listed last; the others are its names of
before, and get an id of their own. Where more than one is active nobody can tell: the migration stops with a list.

Feeds of before could take one market for another on some exchanges. Their rows are kept and marked.
"""

from django.db import migrations, models

# hyperliquid: prices were matched by position; gate, coinbase: by names that two ids share; kalshi: what was filled of
# a "no" outcome was the price of "yes".
UNPROVEN = ("hyperliquid", "gate", "gateio", "coinbase", "kalshi")

DUPLICATES = """
SELECT exchange_id, kind, venue_id, count(*) FILTER (WHERE active),
       array_agg(id ORDER BY active DESC, coalesce(delisted_at, listed_at) DESC, id DESC),
       string_agg(symbol || ' (' || id || ')', ', ' ORDER BY id) FILTER (WHERE active)
FROM exchanges_market GROUP BY 1, 2, 3 HAVING count(*) > 1 ORDER BY 1, 2, 3
"""
MARK = """
UPDATE exchanges_market AS m SET identity_since = clock_timestamp()
WHERE m.exchange_id = ANY(%s)
"""


class DuplicateMarkets(Exception):
    """Markets of one id that are all active: whoever knows which one is right sets `active` to false for the others."""


def tell_apart(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(DUPLICATES)
        found = cursor.fetchall()
        unclear = [
            f"{exchange} {kind} {venue_id}: {names}"
            for exchange, kind, venue_id, active, _, names in found
            if active > 1
        ]
        if unclear:
            raise DuplicateMarkets(
                "Several active markets have one id of the exchange. Say which one is right by "
                "UPDATE exchanges_market SET active = false WHERE id = …, for the others, and migrate again:\n"
                + "\n".join(unclear)
            )
        former = [number for *_, ids, _ in found for number in ids[1:]]
        cursor.execute(
            "UPDATE exchanges_market SET venue_id = left(venue_id, 105) || '#' || id WHERE id = ANY(%s)", [former]
        )
        cursor.execute(MARK, [list(UNPROVEN)])


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0017_halts")]

    operations = [
        migrations.AddField(
            "market", "identity_since", models.DateTimeField(blank=True, editable=False, null=True)
        ),
        migrations.RunPython(tell_apart, migrations.RunPython.noop),
    ]
