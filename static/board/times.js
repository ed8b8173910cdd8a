// Every <time datetime="...Z"> in the viewer's zone, with UTC on hover. `data-format` picks the words: full (default),
// day, clock, hour or ago; ago is kept up to date. What htmx brings later is treated the same.
(() => {
  "use strict";

  const two = (number) => String(number).padStart(2, "0");
  const DAY = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const HOUR = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
  const CLOCK = (at) => `${HOUR(at)}:${two(at.getSeconds())}`;
  const UTC = (at) => `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const SPANS = [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "d"]];

  function span(seconds) {
    const [, size, unit] = SPANS.find(([limit]) => seconds < limit);
    return `${Math.floor(seconds / size)} ${unit}`;
  }

  function ago(at) {
    const seconds = Math.floor((Date.now() - at) / 1000);
    return seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
  }

  const FORMATS = { full: (at) => `${DAY(at)} ${CLOCK(at)}`, day: DAY, clock: CLOCK, hour: HOUR, ago };

  function words(at, format) {
    return (FORMATS[format] || FORMATS.full)(at);
  }

  function set(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function show(element) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) return;
    set(element, words(at, element.dataset.format));
    element.title = element.dataset.format === "ago" ? `${FORMATS.full(at)} (${UTC(at)})` : UTC(at);
  }

  function apply(root) {
    if (root.matches && root.matches("time[datetime]")) show(root);
    root.querySelectorAll("time[datetime]").forEach(show);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    root.querySelectorAll("[data-zone]").forEach((element) => set(element, zone));
    document.documentElement.classList.toggle("is-utc", /^(Etc\/)?(UTC|UCT|GMT|Zulu|Universal)$/.test(zone));
  }

  function tick() {
    document.querySelectorAll('time[datetime][data-format="ago"]').forEach(show);
  }

  window.marketmonTimes = { apply, words, utc: UTC };
  document.addEventListener("DOMContentLoaded", () => apply(document));
  document.addEventListener("htmx:load", (event) => apply(event.target));
  setInterval(tick, 1000);
})();
