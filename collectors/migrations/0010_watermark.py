"""The model of a job's progress is called Watermark; its table keeps its name."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("collectors", "0009_closed_ways")]

    operations = [
        migrations.AlterModelTable("Cursor", "collectors_cursor"),
        migrations.RenameModel("Cursor", "Watermark"),
    ]
