"""Admin pages of incidents: what was found, who is told, and what people plan."""

from incidents.admin import incidents, planned, telling

__all__ = ["incidents", "planned", "telling"]
