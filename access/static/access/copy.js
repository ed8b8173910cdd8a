// The copy button beside a key that is shown once. Without a clipboard (plain http) the text is selected instead.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copies]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copies);
  source.select();
  const done = () => { button.textContent = "Copied"; };
  if (navigator.clipboard) {
    navigator.clipboard.writeText(source.value).then(done, () => {});
  } else if (document.execCommand("copy")) {
    done();
  }
});
