// Pages that renew parts of themselves: what was unfolded stays so, and when no answer comes the page says it aloud.
(() => {
  "use strict";

  let lostAt = null;
  let unfolded = new Set();

  function opened() {
    return [...document.querySelectorAll("details[id][open]")].map((each) => each.id);
  }

  document.addEventListener("htmx:beforeSwap", () => { unfolded = new Set(opened()); });
  document.addEventListener("htmx:afterSwap", () => {
    unfolded.forEach((id) => {
      const details = document.getElementById(id);
      if (details) details.open = true;
    });
  });

  // --- without an answer what is shown is from then, and must not look as if it were from now ---

  function banner() {
    const found = document.getElementById("page-lost");
    if (found) return found;
    const made = document.createElement("p");
    made.id = "page-lost";
    made.className = "mm-lost";
    made.setAttribute("role", "alert");
    (document.querySelector("main") || document.getElementById("content") || document.body).prepend(made);
    return made;
  }

  function lose(why) {
    lostAt = lostAt || new Date(window.marketmonTimes.now());
    const since = window.marketmonTimes.words(lostAt, "clock");
    const text = `No answer since ${since} (${why}). What you see is from then, not from now.`;
    const shown = banner();
    if (shown.textContent !== text) shown.textContent = text;
  }

  function heard() {
    lostAt = null;
    const shown = document.getElementById("page-lost");
    if (shown) shown.remove();
  }

  document.addEventListener("htmx:sendError", () => lose("the server cannot be reached"));
  document.addEventListener("htmx:timeout", () => lose("it took too long"));
  document.addEventListener("htmx:responseError", (event) => lose(`the server answers ${event.detail.xhr.status}`));
  document.addEventListener("htmx:afterOnLoad", (event) => { if (event.detail.xhr.status < 400) heard(); });
})();
