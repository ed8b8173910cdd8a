"""Room for the outcome `not_connected`. PostgreSQL changes the catalogue only; no row is written."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0013_transport_of_stored_runs")]

    operations = [
        migrations.AlterField("run", "outcome", models.CharField(max_length=20)),
        migrations.AlterField("depthrun", "outcome", models.CharField(max_length=20)),
        migrations.AlterField("depthseries", "last_outcome", models.CharField(blank=True, max_length=20)),
    ]
