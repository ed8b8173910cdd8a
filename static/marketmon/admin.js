// What the admin's frame lacks for keyboards and screen readers: its modal box becomes a dialog with a name that keeps
// the focus while it is open and gives it back, and what is only drawn as a button becomes one.
(() => {
  "use strict";

  const STOPS = "input:not([type=hidden]), select, textarea, button, a[href], [tabindex='0']";
  let opener = null;

  const box = () => document.getElementById("modal-content");
  const state = () => window.Alpine.$data(document.documentElement);
  const isSeen = (element) => element.isConnected && element.getClientRects().length > 0;

  // Forms with "until the morning" are told whose: the time zone that this browser shows.
  document.addEventListener("submit", (event) => {
    const zone = event.target.querySelector("[data-viewers-zone]");
    if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  }, true);

  // --- the dialog ---

  function announce(dialog) {
    const title = dialog.querySelector("h1, h2, h3, legend, strong");
    dialog.setAttribute("role", "dialog");
    dialog.setAttribute("aria-modal", "true");
    dialog.setAttribute("aria-label", title ? title.textContent.trim() : "Confirm");
    const close = [...dialog.querySelectorAll(".material-symbols-outlined")].find((each) => each.textContent.trim() === "close");
    if (close) pressable(close.parentElement, "Close");
  }

  const stopsOf = (dialog) => [...dialog.querySelectorAll(STOPS)].filter((each) => isSeen(each) && !each.disabled);

  function enter(dialog) {
    if (dialog.contains(document.activeElement)) return;
    const stops = stopsOf(dialog);
    const first = stops.find((each) => each.matches("input, select, textarea")) || stops.find((each) => each.matches("button")) || stops[0];
    if (first) first.focus();
  }

  function keepInside(event, dialog) {
    const stops = stopsOf(dialog);
    if (!stops.length) return;
    const [first, last] = event.shiftKey ? [stops.at(-1), stops[0]] : [stops[0], stops.at(-1)];
    if (dialog.contains(document.activeElement) && document.activeElement !== last) return;
    event.preventDefault();
    first.focus();
  }

  // To what opened it, to the same button of a part that came meanwhile, or to the button of the menu it was in.
  function giveBack() {
    if (!opener) return;
    const { element, address, menu } = opener;
    opener = null;
    const same = [...document.querySelectorAll("[data-dialog], [hx-get]")].filter((each) => addressOf(each) === address);
    const back = [element, ...same, menu].find((each) => each && isSeen(each));
    if (back) back.focus({ preventScroll: true });
  }

  const addressOf = (element) => element.dataset.dialog || element.getAttribute("hx-get");

  function menuOf(element) {
    const anchor = element.closest("nav[x-anchor\\.bottom-end\\.offset\\.4]");
    const name = anchor && /\$refs\.(\w+)/.exec(anchor.getAttribute("x-anchor.bottom-end.offset.4"));
    return name ? document.querySelector(`[x-ref="${name[1]}"]`) : null;
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, target } = event.detail;
    if (!target || target.id !== "modal-content" || target.contains(elt)) return;
    opener = { element: elt, address: addressOf(elt), menu: menuOf(elt) };
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    const dialog = box();
    if (!dialog || !dialog.contains(event.target)) return;
    announce(dialog);
    state().openModal = true;
    setTimeout(() => enter(dialog), 50); // it is shown by then
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && box() && state().openModal) keepInside(event, box());
  });

  document.addEventListener("DOMContentLoaded", () => {
    if (box()) window.Alpine.effect(() => { if (!state().openModal) setTimeout(giveBack); });
  });

  // --- what is only drawn ---

  function pressable(element, name) {
    element.setAttribute("role", "button");
    element.setAttribute("tabindex", "0");
    element.setAttribute("aria-label", name);
  }

  document.addEventListener("keydown", (event) => {
    const element = event.target.closest("span[role=button], div[role=button]");
    if (!element || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    element.click();
  });

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("span[x-ref^=rowDropdown]").forEach((each) => pressable(each, "Actions of this row"));
  });

  // A filter's hint is a picture with a name; Django makes it when the page has loaded.
  window.addEventListener("load", () => {
    document.querySelectorAll(".help-tooltip[aria-label]").forEach((each) => each.setAttribute("role", "img"));
  });
})();
