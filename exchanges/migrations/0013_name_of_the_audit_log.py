"""The name of a list in the admin: the audit log."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0010_names")]

    operations = [
        migrations.AlterModelOptions(name="auditentry", options={"verbose_name_plural": "audit log"}),
    ]
