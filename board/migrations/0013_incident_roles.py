"""Incidents came after the roles: both look at them, operators act, and say who is told. Addresses stay sealed."""

from django.db import migrations

from board.role_grants import OPERATOR, VIEWER, grant, view

LOOK = view("incidents", "incident delivery alertchannel alertroute maintenance beat")
ACT = (
    "incidents.change_incident",
    *(
        f"incidents.{action}_{model}"
        for model in ("alertchannel", "alertroute", "maintenance", "beat")
        for action in ("add", "change", "delete")
    ),
)


def add_incidents(apps, schema_editor):
    grant(apps, VIEWER, LOOK)
    grant(apps, OPERATOR, (*LOOK, *ACT))


class Migration(migrations.Migration):
    dependencies = [("board", "0012_depth_roles"), ("incidents", "0001_incidents")]

    operations = [migrations.RunPython(add_incidents, migrations.RunPython.noop)]
