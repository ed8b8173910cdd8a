// Shows the board's state in the browser's tab, by title and icon, and tells of what gets worse where people asked for it.
(() => {
  "use strict";

  const board = document.getElementById("board");
  const verdict = board && board.querySelector("[data-fragment=verdict]");
  if (!verdict) return;
  const TONES = { success: "well", unknown: "unknown", warning: "warning", danger: "danger" }; // the worst last
  const MARKS = { well: "✓", unknown: "?", warning: "!", danger: "‼" };
  const ORDER = Object.values(TONES);
  const KEPT = "marketmon-notifications";
  const site = document.title;
  const button = document.getElementById("board-notify");
  let last = "";
  let known = ""; // the last state that was known: a connection that comes back is no news

  function state() {
    if (board.classList.contains("bd-stale")) return ["unknown", "No connection"];
    const shown = verdict.querySelector(".bd-verdict");
    const tone = shown && Object.keys(TONES).find((word) => shown.classList.contains(`bd-tone-${word}`));
    const claim = shown && shown.querySelector("strong");
    return [TONES[tone] || "unknown", claim ? claim.textContent.trim() : "Unknown"];
  }

  function icon(word) {
    document.querySelectorAll('link[rel~="icon"]').forEach((link) => link.remove());
    const link = document.createElement("link");
    link.rel = "icon";
    link.type = "image/svg+xml";
    link.href = board.dataset[`icon${word[0].toUpperCase()}${word.slice(1)}`];
    document.head.append(link);
    return link.href;
  }

  function show() {
    const [word, claim] = state();
    document.title = `${MARKS[word]} ${claim} | ${site}`;
    if (word === last) return;
    const href = icon(word);
    last = word;
    if (word === "unknown") return;
    if (known && ORDER.indexOf(word) > ORDER.indexOf(known)) tell(claim, href);
    known = word;
  }

  // --- notifications: asked for by the button alone ---

  const may = () => "Notification" in window && window.isSecureContext;
  const isOn = () => may() && Notification.permission === "granted" && localStorage.getItem(KEPT) === "on";

  function tell(claim, href) {
    if (isOn()) new Notification(claim, { tag: "marketmon", icon: href });
  }

  function label() {
    button.hidden = !may() || Notification.permission === "denied";
    button.textContent = isOn() ? "Stop the desktop notifications" : "Notify me on this desktop when it gets worse";
    button.setAttribute("aria-pressed", String(isOn()));
  }

  async function turn() {
    if (isOn()) localStorage.removeItem(KEPT);
    else if ((await Notification.requestPermission()) === "granted") localStorage.setItem(KEPT, "on");
    label();
  }

  const watcher = new MutationObserver(show);
  watcher.observe(verdict, { childList: true, subtree: true, characterData: true });
  watcher.observe(board, { attributes: true, attributeFilter: ["class"] });
  button.addEventListener("click", turn);
  label();
  show();
})();
