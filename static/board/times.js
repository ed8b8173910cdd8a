// Every <time datetime="...Z"> in the viewer's zone, with UTC on hover. `data-format` picks the words: full (default),
// day, clock, hour or ago; ago is kept up to date. What htmx brings later is treated the same. "Now" is the server's:
// each page and each part brings its time along, so a viewer's wrong clock makes nothing look older or newer.
(() => {
  "use strict";

  const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone; // asked once: it takes a millisecond
  document.documentElement.classList.toggle("is-utc", /^(Etc\/)?(UTC|UCT|GMT|Zulu|Universal)$/.test(ZONE));

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

  // --- the server's clock ---

  const JUMP = 2000; // a clock was set; smaller steps back are a slower answer
  let skew = null; // to be added to this machine's clock

  // An answer that took less time on its way tells more: the largest difference is the truest.
  function heard(serverNow, receivedAt = Date.now()) {
    const told = Date.parse(serverNow) - receivedAt;
    if (Number.isNaN(told)) return;
    if (skew === null || told > skew || told < skew - JUMP) skew = told;
  }

  const now = () => Date.now() + (skew || 0);

  // A page out of the browser's memory says an old time, which would make old rows look new.
  function hearPage() {
    const [page] = performance.getEntriesByType("navigation");
    const said = document.querySelector("[data-server-now]");
    if (said && page && page.transferSize > 0) heard(said.dataset.serverNow, Date.now() - performance.now() + page.responseStart);
  }

  function ago(at) {
    const seconds = Math.floor((now() - at) / 1000);
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
    root.querySelectorAll("[data-zone]").forEach((element) => set(element, ZONE));
  }

  function tick() {
    document.querySelectorAll('time[datetime][data-format="ago"]').forEach(show);
  }

  window.marketmonTimes = { apply, words, utc: UTC, heard, now };
  document.addEventListener("DOMContentLoaded", () => { hearPage(); apply(document); });
  document.addEventListener("htmx:beforeOnLoad", (event) => heard(event.detail.xhr.getResponseHeader("Server-Now")));
  document.addEventListener("htmx:load", (event) => apply(event.target));
  setInterval(tick, 1000);
})();
