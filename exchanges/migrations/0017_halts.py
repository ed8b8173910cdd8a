"""A market that is listed and not traded is halted; one that never was traded since we know it is dormant.

What left its list or was halted stood as inactive alike. The next market list, an hour later at most, tells them apart.
The table is written anew, twice: 50,000 markets take a few seconds each.
"""

from django.db import migrations, models

IS_COLLECTED = "active AND NOT blacklisted AND NOT excluded"


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0016_sealed_proxy_logins")]

    operations = [
        migrations.AddField("market", "dormant", models.BooleanField(db_default=False, default=False, editable=False)),
        migrations.AddField(
            "market",
            "halt",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The exchange's word for why it is not traded.",
                max_length=60,
            ),
        ),
        migrations.AddField("market", "halted_at", models.DateTimeField(blank=True, null=True)),
        migrations.SeparateDatabaseAndState(
            database_operations=[  # Django knows no way to change a generated column
                migrations.RunSQL(
                    "ALTER TABLE exchanges_market ALTER COLUMN is_collected "
                    f"SET EXPRESSION AS ({IS_COLLECTED} AND NOT dormant)",
                    f"ALTER TABLE exchanges_market ALTER COLUMN is_collected SET EXPRESSION AS ({IS_COLLECTED})",
                )
            ],
            state_operations=[
                migrations.AlterField(
                    "market",
                    "is_collected",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Q(
                            ("active", True), ("blacklisted", False), ("dormant", False), ("excluded", False)
                        ),
                        output_field=models.BooleanField(),
                    ),
                )
            ],
        ),
        migrations.AddField(
            "market",
            "state",
            models.GeneratedField(
                db_persist=True,
                expression=models.Case(
                    models.When(active=False, then=models.Value("delisted")),
                    models.When(halted_at__isnull=False, then=models.Value("halted")),
                    default=models.Value("trading"),
                ),
                output_field=models.CharField(max_length=8),
            ),
        ),
        migrations.AddIndex(
            "market",
            models.Index(condition=models.Q(("halted_at__isnull", False)), fields=["exchange"], name="market_halted"),
        ),
        # Markets seldom change, so for weeks the planner would know nothing of the new columns.
        migrations.RunSQL("ANALYZE exchanges_market", migrations.RunSQL.noop),
    ]
