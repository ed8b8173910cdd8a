"""Admin pages of incidents: what was found, who is told, and what people plan."""

from incidents.admin import incidents, objectives, planned, telling

__all__ = ["incidents", "objectives", "planned", "telling"]
