"""Runs say which transport brought their rows. Processes of the release before name no such column: it has a default."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collectors", "0011_names_of_changes")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="transport",
            field=models.CharField(db_default="poll", default="poll", max_length=6),
        ),
    ]
