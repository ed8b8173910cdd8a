from django.db import migrations, models

# Older releases could lose a pipeline's mark and open a second gap: the first one ends where the next begins.
END_ALL_BUT_THE_NEWEST = """
LOCK TABLE collectors_gap IN SHARE ROW EXCLUSIVE MODE;
UPDATE collectors_gap AS g SET ended_at = later.started_at, is_judged = false
FROM (SELECT id, lead(started_at) OVER (PARTITION BY pipeline_id ORDER BY started_at) AS started_at
      FROM collectors_gap WHERE ended_at IS NULL) AS later
WHERE later.id = g.id AND later.started_at IS NOT NULL;
"""


class Migration(migrations.Migration):
    """A pipeline has at most one running gap, also for the database. No index more: this one takes another's place."""

    dependencies = [
        ("collectors", "0007_depth"),
    ]

    operations = [
        migrations.RunSQL(END_ALL_BUT_THE_NEWEST, migrations.RunSQL.noop),
        migrations.RemoveIndex(
            model_name="gap",
            name="gap_running",
        ),
        migrations.AddConstraint(
            model_name="gap",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True)), fields=("pipeline",), name="gap_one_running"
            ),
        ),
    ]
