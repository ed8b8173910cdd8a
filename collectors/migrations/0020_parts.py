"""Parts that polls go without, rows of markets that the list does not have, rows stored without a part of them."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0019_answers"), ("exchanges", "0014_markets_digest")]

    operations = [
        migrations.AddField("worker", "missing_markets", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("worker", "left_out_markets", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("worker", "unknown_rows", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("worker", "accepted_unknown", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("worker", "unknown_version", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("run", "rows_repaired", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("depthrun", "rows_repaired", models.IntegerField(db_default=0, default=0)),
        migrations.CreateModel(
            name="PartOutage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("part", models.CharField(max_length=100)),
                ("outcome", models.CharField(max_length=20)),
                ("reason", models.TextField(blank=True)),
                (
                    "pipelines",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), default=list, size=None
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "exchange",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="part_outages",
                        to="exchanges.exchange",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["exchange", "-started_at"], name="part_outage_by_exchange"),
                    models.Index(fields=["started_at"], name="part_outage_by_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("exchange", "part"),
                        name="part_outage_one_running",
                    )
                ],
            },
        ),
    ]
