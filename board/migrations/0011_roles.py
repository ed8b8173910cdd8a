"""Two roles for people who are no administrators. What a later model needs is granted by a later migration."""

from django.db import migrations

from board.role_grants import OPERATOR, VIEWER, grant, view, withdraw

# Not: users, keys and their ledger, and the log of changed fields, which has users' fields in it.
LOOK = (
    *view("exchanges", "exchange market blacklistentry marketblacklistentry connectivitycheck auditentry"),
    *view("collectors", "worker pipeline tick rollup coverage gap run transition stream switch backfill"),
    *view("metrics", "collection series verdict exittransition notice grid candle balance marketpoint"),
    *view("django_celery_beat", "periodictask intervalschedule crontabschedule"),
    *view("access", "tier"),
    *view("board", "drill"),
)
ACT = (
    "exchanges.add_exchange",
    "exchanges.change_exchange",
    "exchanges.delete_exchange",  # the verb `remove`, which keeps the history
    "exchanges.change_market",
    "metrics.add_series",
    "metrics.change_series",
    "metrics.delete_series",
    "metrics.add_grid",
    "metrics.change_grid",
    "metrics.delete_grid",
    "board.add_drill",
)


def make_roles(apps, schema_editor):
    grant(apps, VIEWER, LOOK)
    grant(apps, OPERATOR, (*LOOK, *ACT))


def drop_roles(apps, schema_editor):
    withdraw(apps, VIEWER)
    withdraw(apps, OPERATOR)


class Migration(migrations.Migration):
    dependencies = [
        ("board", "0010_drill_facts"),
        ("access", "0003_hot_allowances"),
        ("collectors", "0006_coverage"),
        ("exchanges", "0005_audit"),
        ("metrics", "0001_webhook_regimes_and_grids"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(make_roles, drop_roles)]
