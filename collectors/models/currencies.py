"""What is learned of currencies from the prices that are collected: their values in one of them, and calm pairs."""

from __future__ import annotations

from django.db import models


class CurrencyValue(models.Model):
    """The value of a currency that markets are priced in, in the currency that most of them are priced in. Sizes of
    markets are compared by it."""

    code = models.CharField(primary_key=True, max_length=50)
    value = models.FloatField()
    unit = models.CharField(max_length=50)
    learned_at = models.DateTimeField()

    class Meta:
        app_label = "collectors"

    def __str__(self) -> str:
        return f"{self.code} = {self.value} {self.unit}"


class CalmPair(models.Model):
    """A pair whose price hardly moves in a day, on all exchanges that have it; pegged once it has long been so."""

    base = models.CharField(max_length=50)
    quote = models.CharField(max_length=50)
    calm_since = models.DateTimeField()
    range_share = models.FloatField()  # between the day's highest and lowest price
    price = models.FloatField()
    learned_at = models.DateTimeField()

    class Meta:
        app_label = "collectors"
        constraints = [models.UniqueConstraint(fields=["base", "quote"], name="calm_pair_once")]

    def __str__(self) -> str:
        return f"{self.base}/{self.quote}"
