"""History imports came after the roles: both look at them, operators ask for them."""

from django.db import migrations

from board.role_grants import OPERATOR, VIEWER, grant, view

LOOK = view("collectors", "historyimport")
ACT = ("collectors.add_historyimport",)


def add_imports(apps, schema_editor):
    grant(apps, VIEWER, LOOK)
    grant(apps, OPERATOR, (*LOOK, *ACT))


class Migration(migrations.Migration):
    dependencies = [("board", "0015_archive_roles"), ("collectors", "0026_history_imports")]

    operations = [migrations.RunPython(add_imports, migrations.RunPython.noop)]
