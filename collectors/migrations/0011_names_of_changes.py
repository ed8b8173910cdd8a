"""Names of two lists in the admin: transport changes and status changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("collectors", "0010_watermark")]

    operations = [
        migrations.AlterModelOptions(name="switch", options={"verbose_name": "transport change"}),
        migrations.AlterModelOptions(name="transition", options={"verbose_name": "status change"}),
    ]
