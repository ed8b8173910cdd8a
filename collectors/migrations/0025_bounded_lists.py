"""What lists of the API are ordered and chosen by, so that a page costs the same however long the history is.

Built while the tables are written to: with millions of rows it takes longer than any statement is usually given.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from lib.database.limits import LIMITS

AS_LONG_AS_IT_TAKES = "SET statement_timeout = 0"
AS_USUAL = f"SET statement_timeout = '{LIMITS['statement_timeout']}'"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("collectors", "0024_pipeline_days")]

    operations = [
        migrations.RunSQL(AS_LONG_AS_IT_TAKES, AS_USUAL),
        AddIndexConcurrently("gap", models.Index(fields=["-missed_count", "-id"], name="gap_longest_first")),
        AddIndexConcurrently(
            "run",
            models.Index(
                condition=models.Q(("outcome", "stored"), _negated=True),
                fields=["-started_at", "-id"],
                name="run_not_stored",
            ),
        ),
        migrations.RunSQL(AS_USUAL, AS_LONG_AS_IT_TAKES),
    ]
