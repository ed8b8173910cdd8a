"""Whether an exchange is collected stands in one column, which PostgreSQL keeps whoever writes the row."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0010_names")]

    operations = [
        migrations.AddField(
            model_name="exchange",
            name="is_collected",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Q(("blacklisted", False), ("enabled", True)),
                output_field=models.BooleanField(),
            ),
        ),
    ]
