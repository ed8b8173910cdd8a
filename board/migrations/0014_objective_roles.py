"""Objectives came after the roles: both look at them, operators make and change them."""

from django.db import migrations

from board.role_grants import OPERATOR, VIEWER, grant, view

LOOK = view("incidents", "objective objectiveday objectivereport")
ACT = tuple(f"incidents.{action}_objective" for action in ("add", "change", "delete"))


def add_objectives(apps, schema_editor):
    grant(apps, VIEWER, LOOK)
    grant(apps, OPERATOR, (*LOOK, *ACT))


class Migration(migrations.Migration):
    dependencies = [("board", "0013_incident_roles"), ("incidents", "0002_objectives")]

    operations = [migrations.RunPython(add_objectives, migrations.RunPython.noop)]
