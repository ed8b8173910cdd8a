"""Runs that are stored already were a stream's where their correlation id said so."""

from django.db import migrations

BATCH = 20_000  # ids: a fraction of a second each, so that no poll waits for its run's row or for vacuum

MARK = """
UPDATE collectors_run SET transport = 'stream'
WHERE id >= %s AND id < %s AND correlation_id = 'websocket' AND transport <> 'stream'
"""


def mark(apps, schema_editor):
    """Twice is harmless: an upgrade that was interrupted goes on from its beginning and finds less to do."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(min(id), 0), coalesce(max(id), -1) FROM collectors_run")
        first, last = cursor.fetchone()
        for start in range(first, last + 1, BATCH):
            cursor.execute(MARK, [start, start + BATCH])


class Migration(migrations.Migration):
    atomic = False  # each batch is committed on its own

    dependencies = [("collectors", "0012_run_transport")]

    # The old mark is left in place, so the way back has nothing to do.
    operations = [migrations.RunPython(mark, migrations.RunPython.noop)]
