"""Gaps of markets that never came leave the count of 24 hours: they last for ever, and are nobody's fault."""

from django.db import migrations

FORGET_NEVER_CAME = """
UPDATE collectors_pipeline AS p SET gaps_24h = greatest(0, p.gaps_24h - g.gaps)
FROM (SELECT pipeline_id, count(*) AS gaps FROM collectors_gap
      WHERE cause = 'never came' AND (ended_at IS NULL OR ended_at >
          COALESCE((SELECT reached_at FROM collectors_cursor WHERE name = 'gaps_24h'), '-infinity'))
      GROUP BY 1) AS g
WHERE p.market_id = g.pipeline_id
"""


class Migration(migrations.Migration):
    dependencies = [("collectors", "0017_time_of_knowing"), ("exchanges", "0017_halts")]

    operations = [migrations.RunSQL(FORGET_NEVER_CAME, migrations.RunSQL.noop)]
