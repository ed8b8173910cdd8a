"""The model of past signs."""

from __future__ import annotations

from django.db import models


class SignSpan(models.Model):
    """The digest of one subject's signs, from the first minute that they were so to the last; without a hole.

    A subject is an exchange, or what concerns all. In a minute without a span nobody looked.
    """

    subject = models.CharField(max_length=80)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    body = models.JSONField()

    class Meta:
        app_label = "incidents"
        constraints = [models.UniqueConstraint(fields=["subject", "first_at"], name="sign_span_once")]
        indexes = [models.Index(fields=["last_at"], name="sign_span_by_end")]

    def __str__(self) -> str:
        return f"{self.subject} {self.first_at:%Y-%m-%d %H:%M}"
