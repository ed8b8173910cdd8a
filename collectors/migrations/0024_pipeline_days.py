"""What each day of each pipeline came to."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0023_currencies")]

    operations = [
        migrations.CreateModel(
            name="PipelineDay",
            fields=[
                ("pk", models.CompositePrimaryKey("day", "pipeline_id", blank=True, editable=False, primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("expected", models.SmallIntegerField()),
                ("stored", models.SmallIntegerField()),
                ("filled", models.SmallIntegerField()),
                ("longest_gap_seconds", models.FloatField()),
                ("worst_cause", models.CharField(blank=True, max_length=16)),
                ("sealed_at", models.DateTimeField(null=True)),
                ("fingerprint", models.CharField(max_length=32, null=True)),
                ("pipeline", models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name="+", to="collectors.pipeline")),
            ],
        ),
    ]
