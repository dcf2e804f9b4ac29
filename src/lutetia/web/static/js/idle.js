// Lock after a pause. The page stays as it is beneath the overlay, so nothing that was typed is lost; the server has its
// own clock and refuses an idle session whatever this script does.

const ACTIVITY = ["keydown", "pointerdown", "wheel", "touchstart", "input"];
const TOUCH_EVERY_MS = 60_000;

/** After the pause a new session goes on: every form of the page gets its token. */
function renewToken(csrf) {
  document.body.dataset.csrf = csrf;
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRF-Token": csrf }));
  for (const input of document.querySelectorAll("input[name=csrf]")) input.value = csrf;
}

/** Watch for a pause; returns the function that locks at once. `post` sends changes of the session. */
export function watchIdle(post) {
  const overlay = document.getElementById("lock");
  const seconds = Number(document.body.dataset.idleSeconds || 0);
  if (!overlay || !seconds) return () => location.reload();
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("lutetia-session") : null;
  let last = Date.now();
  let touched = Date.now();

  const lock = () => {
    if (overlay.open) return;
    overlay.showModal();
    document.getElementById("lock-password").value = "";
  };
  const unlocked = (csrf) => {
    renewToken(csrf);
    last = touched = Date.now();
    document.getElementById("lock-error").hidden = true;
    document.getElementById("lock-password").value = "";
    if (overlay.open) overlay.close();
  };

  const active = () => {
    if (overlay.open) return;
    last = Date.now();
    channel?.postMessage({ kind: "active" });
    if (last - touched > TOUCH_EVERY_MS) {
      touched = last;
      post("/session/touch").then((answer) => { if (answer.status === 401) lock(); }).catch(() => {});
    }
  };
  for (const kind of ACTIVITY) document.addEventListener(kind, active, { passive: true, capture: true });
  channel?.addEventListener("message", (event) => {
    if (event.data.kind === "active" && !overlay.open) last = Date.now();
    if (event.data.kind === "unlocked") unlocked(event.data.csrf);
  });

  setInterval(() => {
    if (!overlay.open && Date.now() - last > seconds * 1000) {
      lock();
      post("/session/pause").catch(() => {});
    }
  }, 1000);

  overlay.addEventListener("cancel", (event) => event.preventDefault());
  document.getElementById("lock-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const words = document.getElementById("lock-error");
    const password = document.getElementById("lock-password");
    try {
      const typed = { password: password.value, code: document.getElementById("lock-code")?.value || "" };
      const answer = await post("/session/unlock", typed, { "X-Lock-Overlay": "1" });
      if (answer.status === 200) {
        const { csrf } = await answer.json();
        unlocked(csrf);
        channel?.postMessage({ kind: "unlocked", csrf });
        return;
      }
      words.textContent = overlay.dataset[answer.status === 403 ? "wrong" : answer.status === 429 ? "wait" : "ended"];
    } catch {
      words.textContent = overlay.dataset.unreachable;
    }
    words.hidden = false;
    password.select();
  });
  return lock;
}
