"""Order books, trades and funding rates came after the roles: both may look at them."""

from django.db import migrations

from board.role_grants import OPERATOR, VIEWER, grant, view

LOOK = view("collectors", "depthseries depthrun orderbooksnapshot publictrade fundingsnapshot tradehole")


def add_depth(apps, schema_editor):
    for role in (VIEWER, OPERATOR):
        grant(apps, role, LOOK)


class Migration(migrations.Migration):
    dependencies = [("board", "0011_roles"), ("collectors", "0007_depth")]

    operations = [migrations.RunPython(add_depth, migrations.RunPython.noop)]
