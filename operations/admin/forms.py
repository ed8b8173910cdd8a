"""The forms of an exchange's settings, and how they become what the verbs `add` and `configure` take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from exchanges import addresses, connectivity, destinations, market_filter, secrets
from exchanges.models import ID_FAULT, Exchange, Market, is_exchange_id
from feeds import credentials_needed, known_exchange_ids
from operations.exchange_settings import MORE_CREDENTIALS, SETTINGS, what_is_needed
from web.redaction import hide_login

BETWEEN_QUOTES = re.compile(r"[,;\s]+")
BETWEEN_MARKETS = re.compile(r"[,;\n]+")
FILTER_FIELDS = ("quotes", "only_markets", "top")
CREDENTIAL_FIELDS = tuple(f"credential_{name}" for name in secrets.NAMES)
LABELS = {"poll_interval_seconds": "Interval (seconds)", "base_url": "Base URL", "ca_file": "CA file"}
UNCHANGED = "Empty: stays as it is."
WANTED_AGAIN = (
    "It decides where the stored credentials are sent. Enter them again, all of them, or choose to forget them."
)


class AddressWidget(UnfoldAdminTextInputWidget):
    """An address without whatever stands before its host: what was typed in vain is not sent back either."""

    def format_value(self, value: Any) -> str | None:
        return None if value is None else hide_login(str(value))


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """The settings of an exchange's collection."""

    quotes = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget,
        label="Quote currencies",
        help_text="Only markets in these: USDT, EUR. Empty: all.",
    )
    only_markets = forms.CharField(
        required=False,
        max_length=200_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Only these: BTC/USDT, ETH/EUR, one a line or with commas between. Empty: all.",
    )
    top = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
        label="Largest markets",
        help_text="Only so many, those with the largest volume. Empty: all.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LABELS.keys() & self.fields.keys():
            self.fields[name].label = LABELS[name]
        for name in {"base_url", "proxy"} & self.fields.keys():
            self.fields[name].widget = AddressWidget(attrs=self.fields[name].widget.attrs)
        stored = self.instance.market_filter or {}
        self.initial.update(
            {
                "quotes": ", ".join(stored.get("quotes") or ()),
                "only_markets": ", ".join(stored.get("symbols") or ()),
                "top": stored.get("top"),
                "proxy": hide_login(self.instance.proxy),  # unchanged, it is not saved
            }
        )

    def clean_base_url(self) -> str:
        base_url: str = self.cleaned_data["base_url"]
        return self._safe("base_url", base_url, addresses.check_base_url)

    def clean_proxy(self) -> str:
        proxy: str = self.cleaned_data["proxy"]
        return self._safe("proxy", proxy, addresses.check_proxy)

    def clean_ca_file(self) -> str:
        ca_file: str = self.cleaned_data["ca_file"]
        return self._safe("ca_file", ca_file, addresses.check_ca_file)

    def clean_poll_interval_seconds(self) -> float:
        """Refuses an interval under what the exchange's rate limit allows. Raises ValidationError."""
        seconds: float = self.cleaned_data["poll_interval_seconds"]
        exchange: Exchange = self.instance
        if exchange.rate_limit_ms is None or "poll_interval_seconds" not in self.changed_data:
            return seconds
        count = Market.objects.collected().filter(exchange_id=exchange.pk).count()
        least = connectivity.least_interval_seconds(exchange.rate_limit_ms, exchange.capabilities, market_count=count)
        if seconds < least:
            raise forms.ValidationError(f"The rate limit of {exchange.pk} allows {least:g} s and more.")
        return seconds

    def clean_depth(self) -> dict[str, Any]:
        """Returns the wanted market data; an emptied field is None, and means nothing but tickers."""
        return self.cleaned_data["depth"] or {}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if set(FILTER_FIELDS) <= set(cleaned):
            try:
                market_filter.validate(self.market_filter())
            except ValidationError as fault:
                self.add_error("only_markets", fault)
        return cleaned

    def market_filter(self) -> dict[str, Any]:
        named = {
            "quotes": _names(self.cleaned_data["quotes"].upper(), BETWEEN_QUOTES),
            "symbols": _names(self.cleaned_data["only_markets"], BETWEEN_MARKETS),
            "top": self.cleaned_data["top"],
        }
        return {name: value for name, value in named.items() if value}

    def wanted(self) -> dict[str, Any]:
        """Returns only what was changed here: a verb may have run since the page was opened."""
        found = {name: self.cleaned_data[name] for name in self.changed_data if name in SETTINGS}
        if set(FILTER_FIELDS) & set(self.changed_data):
            found["market_filter"] = self.market_filter()
        return found

    def _given(self) -> Mapping[str, str]:
        """Returns the credentials that were entered."""
        given = {name: self.cleaned_data.get(f"credential_{name}") or "" for name in secrets.NAMES}
        return {name: value for name, value in given.items() if value}

    def _safe(self, name: str, address: str, rule: Any) -> str:
        if name in self.changed_data:
            try:
                rule(address)
            except addresses.Unsafe as fault:
                raise forms.ValidationError(str(fault)) from fault
        return address


class AddForm(SettingsForm):
    """A form for the exchange to add, and for what of its settings is known already."""

    exchange = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget(
            attrs={"list": "known-exchanges", "autocomplete": "off", "autofocus": True, "placeholder": "kraken"}
        ),
        help_text="Begin to type: every exchange that we can speak to is suggested.",
    )
    field_order = ("exchange",)

    def clean_exchange(self) -> str:
        exchange_id = str(self.cleaned_data["exchange"]).strip().lower()
        if not is_exchange_id(exchange_id):
            raise forms.ValidationError(ID_FAULT)
        if exchange_id not in known_exchange_ids():
            raise forms.ValidationError(f"No feed of ours speaks to an exchange of the name {exchange_id}.")
        if Exchange.objects.filter(pk=exchange_id, blacklisted=True).exists():
            raise forms.ValidationError(f"{exchange_id} is blacklisted. Lift the blacklist first.")
        return exchange_id

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        exchange_id, given = str(cleaned.get("exchange") or ""), self._given()
        missing = [name for name in credentials_needed(exchange_id) if name not in given]
        if missing:
            self.add_error(f"credential_{missing[0]}", what_is_needed(exchange_id))
        return cleaned

    def wanted(self) -> dict[str, Any]:
        found, given = super().wanted(), self._given()
        return {**found, "credentials": given} if given else found


class ExchangeForm(SettingsForm):
    """The settings of an exchange that is there. Credentials go in and never come out."""

    forget_credentials = forms.BooleanField(
        required=False, widget=UnfoldBooleanSwitchWidget, help_text="Deletes every stored credential."
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.instance.credentials and not cleaned.get("forget_credentials") and not self._given():
            base_url = cleaned.get("base_url", self.instance.base_url)
            for name in destinations.leading_elsewhere(base_url, self.changed_data):
                self.add_error(name, WANTED_AGAIN)
        return cleaned

    def wanted(self) -> dict[str, Any]:
        found = super().wanted()
        if self.cleaned_data.get("forget_credentials"):
            return {**found, "credentials": {}}
        given = self._given()
        return {**found, MORE_CREDENTIALS: given} if given else found


def _credential(name: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=secrets.VALUE_CHARACTERS,
        strip=False,
        label=name,
        help_text=help_text,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )


for form, help_text in ((ExchangeForm, UNCHANGED), (AddForm, "")):
    form.declared_fields |= {f"credential_{name}": _credential(name, help_text) for name in secrets.NAMES}
    form.base_fields |= form.declared_fields


def _names(text: str, between: re.Pattern[str]) -> list[str]:
    return [name for name in dict.fromkeys(part.strip() for part in between.split(text)) if name]
