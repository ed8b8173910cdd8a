"""A price that has jumped alone is marked until something confirms it. Columns only: no row is rewritten."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0021_process_lease")]

    operations = [
        migrations.AddField("pipeline", "unconfirmed_count", models.SmallIntegerField(db_default=0, default=0)),
        migrations.AddField("pipeline", "trusted_price", models.FloatField(blank=True, null=True)),
    ]
