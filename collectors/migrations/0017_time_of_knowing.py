"""Since when each row is known, what minutes were before they changed, and the exchanges' own minute candles.

Columns are added empty, so no row is rewritten. What was filled before this migration has no time of knowing: Django's
table of migrations says when that was.
"""

from django.db import migrations, models

COLUMNS = """
ALTER TABLE collectors_tick ADD COLUMN known_at timestamptz;
ALTER TABLE collectors_rollup ADD COLUMN volume float8, ADD COLUMN live smallint, ADD COLUMN candle smallint,
    ADD COLUMN trade smallint, ADD COLUMN revision smallint, ADD COLUMN known_at timestamptz;
CREATE TABLE collectors_rolluprevision (
    pipeline_id int NOT NULL,
    samples smallint NOT NULL,
    revision smallint NOT NULL,
    minute_at timestamptz NOT NULL,
    open float8, high float8, low float8, close float8, bid float8, ask float8, base_volume float8, volume float8,
    live smallint, candle smallint, trade smallint,
    known_at timestamptz,
    replaced_at timestamptz NOT NULL,
    PRIMARY KEY (pipeline_id, minute_at, revision)
) PARTITION BY RANGE (minute_at);
CREATE TABLE collectors_minutecandle (
    pipeline_id int NOT NULL,
    has_trades boolean NOT NULL,
    opened_at timestamptz NOT NULL,
    open float8 NOT NULL, high float8 NOT NULL, low float8 NOT NULL, close float8 NOT NULL, volume float8,
    fetched_at timestamptz NOT NULL,
    PRIMARY KEY (pipeline_id, opened_at)
) PARTITION BY RANGE (opened_at);
CREATE INDEX ON collectors_minutecandle (opened_at);
"""
WITHOUT = """
DROP TABLE collectors_minutecandle;
DROP TABLE collectors_rolluprevision;
ALTER TABLE collectors_rollup DROP COLUMN volume, DROP COLUMN live, DROP COLUMN candle, DROP COLUMN trade,
    DROP COLUMN revision, DROP COLUMN known_at;
ALTER TABLE collectors_tick DROP COLUMN known_at;
"""


class Migration(migrations.Migration):
    dependencies = [("collectors", "0016_lists")]

    operations = [
        migrations.RunSQL(COLUMNS, WITHOUT),
        migrations.CreateModel(
            name="RollupRevision",
            fields=[
                ("pk", models.CompositePrimaryKey("pipeline_id", "minute_at", "revision", blank=True, editable=False, primary_key=True, serialize=False)),
                ("samples", models.SmallIntegerField()),
                ("revision", models.SmallIntegerField()),
                ("minute_at", models.DateTimeField()),
                ("open", models.FloatField(null=True)),
                ("high", models.FloatField(null=True)),
                ("low", models.FloatField(null=True)),
                ("close", models.FloatField(null=True)),
                ("bid", models.FloatField(null=True)),
                ("ask", models.FloatField(null=True)),
                ("base_volume", models.FloatField(null=True)),
                ("volume", models.FloatField(null=True)),
                ("live", models.SmallIntegerField(null=True)),
                ("candle", models.SmallIntegerField(null=True)),
                ("trade", models.SmallIntegerField(null=True)),
                ("known_at", models.DateTimeField(null=True)),
                ("replaced_at", models.DateTimeField()),
            ],
            options={"db_table": "collectors_rolluprevision", "managed": False},
        ),
        migrations.CreateModel(
            name="MinuteCandle",
            fields=[
                ("pk", models.CompositePrimaryKey("pipeline_id", "opened_at", blank=True, editable=False, primary_key=True, serialize=False)),
                ("has_trades", models.BooleanField()),
                ("opened_at", models.DateTimeField()),
                ("open", models.FloatField()),
                ("high", models.FloatField()),
                ("low", models.FloatField()),
                ("close", models.FloatField()),
                ("volume", models.FloatField(null=True)),
                ("fetched_at", models.DateTimeField()),
            ],
            options={"db_table": "collectors_minutecandle", "managed": False},
        ),
    ]
