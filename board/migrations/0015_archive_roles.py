"""The archive came after the roles: both look at its ledger."""

from django.db import migrations

from board.role_grants import OPERATOR, VIEWER, grant, view

LOOK = view("archive", "archivefile")


def add_archive(apps, schema_editor):
    grant(apps, VIEWER, LOOK)
    grant(apps, OPERATOR, LOOK)


class Migration(migrations.Migration):
    dependencies = [("board", "0014_objective_roles"), ("archive", "0001_ledger")]

    operations = [migrations.RunPython(add_archive, migrations.RunPython.noop)]
