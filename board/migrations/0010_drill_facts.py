from django.db import migrations, models


class Migration(migrations.Migration):
    """What a drill's card tells besides its moments, and one drill per exchange at a time."""

    dependencies = [("board", "0001_drills")]

    operations = [
        migrations.AddField("drill", "detected_by", models.TextField(blank=True)),
        migrations.AddField("drill", "shown_by", models.TextField(blank=True)),
        migrations.AddField("drill", "fault_number", models.IntegerField(null=True, blank=True)),
        migrations.AddConstraint(
            "drill",
            models.UniqueConstraint(
                fields=["exchange"], condition=models.Q(state="running"), name="one_running_drill_per_exchange"
            ),
        ),
    ]
