// What DRF's page does not say to a screen reader.
(() => {
  "use strict";
  document.documentElement.lang = "en";
  document.querySelectorAll("button.dropdown-toggle").forEach((button) => button.setAttribute("aria-label", "Choose a format"));
  document.querySelectorAll(".content-main").forEach((inner) => inner.removeAttribute("role"));
})();
