// Keeps the board live: asks for the parts whose hashes it does not show, swaps them in, and says aloud when it cannot.
(() => {
  "use strict";

  const PACE = 1500;
  const LONGEST_PAUSE = 15000;
  const PATIENCE = 5000; // for one answer
  const STALE = 4000; // without news a board must not look live
  const SAID = 8000;

  const board = document.getElementById("board");
  if (!board) return;
  const lost = document.getElementById("board-lost");
  const said = document.getElementById("board-said");
  const tiles = document.getElementById("board-tiles");
  const filter = document.getElementById("board-filter");
  const onlyBad = document.getElementById("board-only-bad");
  const isPart = (element) => element.dataset.fragment !== undefined;

  // --- the parts ---

  function part(name) {
    return board.querySelector(`[data-fragment="${CSS.escape(name)}"]`);
  }

  function shownHashes() {
    return [...board.querySelectorAll("[data-fragment]")].map((element) => element.dataset.hash).join("");
  }

  function made(name) {
    const tile = document.createElement("article");
    tile.className = "bd-tile";
    tile.dataset.fragment = name;
    tiles.append(tile);
    return tile;
  }

  // Whoever stands on a button of the part stands on the same button of the new one.
  function swap(name, [hash, html]) {
    const element = part(name) || made(name);
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && focused.dataset.key;
    element.dataset.hash = hash;
    element.innerHTML = html;
    if (focused === element) element.focus({ preventScroll: true });
    if (key) {
      const again = [...element.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
      if (again) again.focus({ preventScroll: true });
    }
    window.marketmonTimes.apply(element);
  }

  function arrange(names) {
    const wanted = names.filter((name) => name.startsWith("tile:"));
    const known = new Set(wanted);
    [...tiles.children].filter((tile) => !known.has(tile.dataset.fragment)).forEach((tile) => tile.remove());
    wanted.forEach((name, place) => {
      const tile = part(name);
      if (tile && tiles.children[place] !== tile) tiles.insertBefore(tile, tiles.children[place] || null);
    });
  }

  // Newest rows come apart from the tiles, so that a tile is sent only when something else has changed.
  function showMoments() {
    const newest = JSON.parse(document.getElementById("board-moments").innerHTML || "{}");
    board.querySelectorAll("[data-newest]").forEach((element) => {
      const seconds = newest[element.dataset.newest];
      if (seconds !== undefined) element.dateTime = new Date(seconds * 1000).toISOString();
      window.marketmonTimes.apply(element);
    });
    board.querySelectorAll("[data-taken]").forEach((element) => {
      element.dateTime = board.dataset.takenAt;
      window.marketmonTimes.apply(element);
    });
  }

  function show(answer) {
    const walked = document.activeElement && document.activeElement.closest(".bd-tile");
    Object.entries(answer.changed).forEach(([name, content]) => swap(name, content));
    if (answer.names) arrange(answer.names);
    if (walked && walked.isConnected && !walked.contains(document.activeElement)) walked.focus({ preventScroll: true });
    board.dataset.order = answer.order;
    sift();
  }

  // --- asking ---

  let timer = 0;
  let pause = PACE;
  let asking = null;
  let newsAt = Date.now();
  let trouble = "";

  function schedule(milliseconds) {
    clearTimeout(timer);
    timer = document.hidden ? 0 : setTimeout(ask, milliseconds);
  }

  async function ask() {
    if (asking) return;
    asking = new AbortController();
    const giveUp = setTimeout(() => asking && asking.abort(), PATIENCE);
    try {
      const query = new URLSearchParams({ order: board.dataset.order, have: shownHashes() });
      const response = await fetch(`${board.dataset.live}?${query}`, { signal: asking.signal, cache: "no-store", credentials: "same-origin" });
      if (response.headers.get("HX-Refresh")) return location.reload();
      if (!response.ok && response.status !== 304) throw new Error(await saidBy(response));
      window.marketmonTimes.heard(response.headers.get("Server-Now"));
      if (response.status !== 304) show(await response.json());
      board.dataset.takenAt = response.headers.get("Board-Taken-At");
      showMoments();
      heard();
    } catch (error) {
      trouble = error.name === "AbortError" ? "no answer" : error.name === "TypeError" ? "the server cannot be reached" : error.message;
      pause = Math.min(LONGEST_PAUSE, pause * 2);
      warn();
    } finally {
      clearTimeout(giveUp);
      asking = null;
      schedule(pause);
    }
  }

  // Why there is no answer, in the server's words where it has some: it knows more than a number.
  async function saidBy(response) {
    try {
      return (await response.json()).message || `the server answers ${response.status}`;
    } catch {
      return `the server answers ${response.status}`;
    }
  }

  function heard() {
    newsAt = Date.now();
    pause = PACE;
    trouble = "";
    if (lost.hidden) return;
    lost.hidden = true;
    board.classList.remove("bd-stale");
  }

  function warn() {
    if (document.hidden || Date.now() - newsAt < STALE) return;
    board.classList.add("bd-stale");
    const since = window.marketmonTimes.words(new Date(newsAt - Date.now() + window.marketmonTimes.now()), "clock");
    const text = `Connection lost since ${since}${trouble ? `: ${trouble}` : ""}. What you see is from then, not from now.`;
    if (lost.textContent !== text) lost.textContent = text;
    lost.hidden = false;
  }

  function wake() {
    if (document.hidden) return clearTimeout(timer);
    pause = PACE;
    warn();
    ask();
  }

  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  window.addEventListener("pageshow", (event) => event.persisted && wake());
  setInterval(warn, 1000);

  // --- acting ---

  function say(text, isDone) {
    said.textContent = text;
    said.classList.toggle("bd-refused", !isDone);
    said.hidden = false;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { said.hidden = true; }, SAID);
  }

  async function act(button) {
    const address = board.dataset.act.replace("VERB", button.dataset.act).replace("EXCHANGE", button.dataset.exchange);
    button.disabled = true;
    try {
      const token = board.querySelector("[name=csrfmiddlewaretoken]").value;
      const response = await fetch(address, { method: "POST", headers: { "X-CSRFToken": token }, credentials: "same-origin" });
      if (response.redirected) return location.reload();
      const answer = await response.json();
      say(answer.said || answer.message, Boolean(answer.is_done));
      ask();
    } catch {
      say("That could not be sent: the server cannot be reached.", false);
    } finally {
      button.disabled = false;
    }
  }

  function openDialog(button) {
    window.htmx.ajax("GET", button.dataset.dialog, { source: button, target: "#modal-content", select: "#dialog", swap: "innerHTML" });
  }

  board.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act], [data-dialog], [data-guide]");
    if (!button || button === board) return;
    if (button.dataset.act) act(button);
    else if (button.dataset.dialog) openDialog(button);
    else keepGuide(button.dataset.guide);
  });

  function keepGuide(word) {
    document.cookie = `board_guide=${word}; path=/; max-age=31536000; samesite=strict`;
    if (word === "shown") return location.reload();
    document.getElementById("board-guide").remove();
  }

  // --- finding one's way ---

  function sift() {
    const text = filter.value.trim().toLowerCase();
    let shown = 0;
    [...tiles.children].filter(isPart).forEach((tile) => {
      const isWell = tile.querySelector(".bd-is-delivers, .bd-is-off");
      tile.hidden = !tile.dataset.fragment.slice(5).includes(text) || (onlyBad.checked && isWell !== null);
      shown += !tile.hidden;
    });
    if (tiles.children.length) document.getElementById("board-no-tile").hidden = shown > 0;
  }

  function walk(step) {
    const shown = [...tiles.children].filter((tile) => !tile.hidden);
    const here = shown.indexOf(document.activeElement && document.activeElement.closest(".bd-tile"));
    const next = shown[Math.max(0, Math.min(shown.length - 1, here + step))];
    const link = next && next.querySelector("a");
    if (link) link.focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
    if (event.key === "/") {
      event.preventDefault();
      filter.focus();
    } else if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
  });
  filter.addEventListener("input", sift);
  filter.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    filter.value = "";
    sift();
    filter.blur();
  });
  onlyBad.addEventListener("change", sift);

  showMoments();
  ask();
})();
