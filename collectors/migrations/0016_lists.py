"""What is usual belongs to a market list; how often a short list has come; since when a market that never came is missed.

A market that has not come so far is missed from now on: nobody knows which of the polls before it was expected in.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0015_names_of_market_data")]

    operations = [
        migrations.AddField("worker", "usual_count", models.IntegerField(db_default=0, default=0)),
        migrations.AddField("worker", "usual_version", models.IntegerField(db_default=0, default=0)),
        migrations.AddField(
            "worker", "refused_list", models.CharField(blank=True, db_default="", default="", max_length=16)
        ),
        migrations.AddField("worker", "refused_count", models.SmallIntegerField(db_default=0, default=0)),
        migrations.RunSQL(
            "UPDATE collectors_pipeline SET resumed_at = clock_timestamp() WHERE received_at IS NULL",
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
