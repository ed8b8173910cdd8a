"""How old an exchange's answers are by its own word, by kind of market."""

from django.db import migrations, models


def empty() -> models.JSONField:
    return models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict, editable=False)


class Migration(migrations.Migration):
    dependencies = [("collectors", "0018_uncounted_gaps")]

    operations = [
        migrations.AddField("worker", "answers", empty()),
        migrations.AddField("worker", "old_answers", empty()),
    ]
