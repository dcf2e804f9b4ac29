// Entry tables with the keyboard: Enter and the arrow keys go up and down a column; Ctrl + Enter saves (page.js).
// Enter in a field above the table goes into the table: it never saves half a sample.
function step(input, direction) {
  const column = input.closest("td").className;
  const inputs = [...input.closest("[data-entry]").querySelectorAll(`td.${column} input`)];
  const next = inputs[inputs.indexOf(input) + direction];
  if (next) { next.focus(); next.select(); }
  return Boolean(next);
}

document.addEventListener("keydown", (event) => {
  const input = event.target;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (input.matches?.("[data-entry] input")) {
    const direction = { Enter: 1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    if (!step(input, direction) && event.key === "Enter") input.form.querySelector("button[type=submit]").focus();
  } else if (event.key === "Enter" && input.matches?.("input, select") && input.form?.querySelector("[data-entry]")) {
    event.preventDefault();
    input.form.querySelector("[data-entry] input").focus();
  }
});
