// What every page does: lock after a pause, fetch errors into view, history buttons, unsaved input, focus.
import { watchIdle } from "./idle.js";

/** Send a change of the session itself; never through htmx, so that it works while the page is locked. */
export function post(path, fields = {}, headers = {}) {
  return fetch(path, {
    method: "POST",
    body: new URLSearchParams(fields),
    headers: { "X-CSRF-Token": document.body.dataset.csrf || "", ...headers },
    credentials: "same-origin",
    redirect: "manual",
  });
}

function setUpHistoryButtons() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-history]");
    if (!button) return;
    const shown = document.querySelector(button.getAttribute("hx-target"));
    if (shown && shown.childElementCount) {
      event.stopImmediatePropagation();
      shown.replaceChildren();
      button.setAttribute("aria-expanded", "false");
    } else {
      button.setAttribute("aria-expanded", "true");
    }
  }, true);
}

function setUpBackLinks() {
  for (const link of document.querySelectorAll("[data-back]")) {
    if (document.referrer.startsWith(location.origin)) link.href = document.referrer;
  }
}

function setUpUnsavedWarning() {
  let changed = null;
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form && form.method === "post" && !form.closest("dialog, .single")) changed = form;
  });
  document.addEventListener("submit", () => { changed = null; });
  addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
}

function setUpKeys() {
  document.addEventListener("keydown", (event) => {
    const form = event.target.form;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form) form.requestSubmit();
  });
}

function setUpPrinting() {
  for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());
}

/** The accounts of a demonstration fill the sign-in form with one click. */
function setUpDemonstration() {
  for (const button of document.querySelectorAll("[data-fill-user]")) {
    button.addEventListener("click", () => {
      document.getElementById("f-user").value = button.dataset.fillUser;
      document.getElementById("f-password").value = button.dataset.fillPassword;
      document.querySelector("form[action='/sign-in'] button[type=submit]").focus();
    });
  }
}

/** Errors of fragments stand where the fragment would have stood. */
function setUpFragmentErrors(lock) {
  document.addEventListener("htmx:beforeSwap", (event) => {
    const answer = event.detail.xhr;
    if (answer.status === 401) {
      if (answer.getResponseHeader("X-Session") === "ended") location.reload();
      else lock();
    } else if (answer.status >= 400) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });
}

/** A calendar of the browser's own beside each date; what is typed and shown is always YYYY-MM-DD. */
function setUpCalendars() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-calendar]");
    if (button) openCalendar(button);
  });
  document.addEventListener("keydown", (event) => {
    const button = event.altKey && event.key === "ArrowDown" && event.target.parentElement?.querySelector("[data-calendar]");
    if (button) { event.preventDefault(); openCalendar(button); }
  });
  document.addEventListener("change", (event) => {
    if (event.target.nextElementSibling?.matches("[data-calendar]")) event.target.value = separated(event.target.value);
  });
}

/** Digits alone are read too: 20260302 and 202603020930. */
function separated(text) {
  const parts = /^(\d{4})(\d\d)(\d\d)(?:\D?(\d\d):?(\d\d))?$/.exec(text.trim());
  if (!parts) return text;
  return parts.slice(1, 4).join("-") + (parts[4] ? ` ${parts[4]}:${parts[5]}` : "");
}

function openCalendar(button) {
  const typed = button.previousElementSibling;
  let picker = button.nextElementSibling;
  if (!picker) {
    picker = Object.assign(document.createElement("input"), { type: button.dataset.calendar, className: "picker", tabIndex: -1 });
    picker.setAttribute("aria-hidden", "true");
    picker.addEventListener("change", () => {
      typed.value = picker.value.replace("T", " ");
      for (const kind of ["input", "change"]) typed.dispatchEvent(new Event(kind, { bubbles: true }));
      typed.focus();
    });
    button.after(picker);
  }
  picker.value = typed.value.trim().replace(" ", "T");
  picker.showPicker();
}

setUpHistoryButtons();
setUpCalendars();
setUpBackLinks();
setUpUnsavedWarning();
setUpKeys();
setUpPrinting();
setUpDemonstration();
setUpFragmentErrors(watchIdle(post));
document.querySelector("[data-focus]")?.focus();
