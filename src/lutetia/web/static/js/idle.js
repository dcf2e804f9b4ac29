// Lock after a pause. The page stays as it is beneath the overlay, so nothing that was typed is lost; the server has its
// own clock and refuses an idle session whatever this script does.

const ACTIVITY = ["keydown", "pointerdown", "wheel", "touchstart", "input"];
const TOUCH_EVERY_MS = 60_000;

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
  const unlocked = () => {
    last = touched = Date.now();
    document.getElementById("lock-error").hidden = true;
    document.getElementById("lock-password").value = "";
    if (overlay.open) overlay.close();
  };

  const active = () => {
    if (overlay.open) return;
    last = Date.now();
    channel?.postMessage("active");
    if (last - touched > TOUCH_EVERY_MS) {
      touched = last;
      post("/session/touch").then((answer) => { if (answer.status === 401) lock(); }).catch(() => {});
    }
  };
  for (const kind of ACTIVITY) document.addEventListener(kind, active, { passive: true, capture: true });
  channel?.addEventListener("message", (event) => {
    if (event.data === "active" && !overlay.open) last = Date.now();
    if (event.data === "unlocked") unlocked();
  });

  setInterval(() => {
    if (!overlay.open && Date.now() - last > seconds * 1000) {
      lock();
      post("/session/lock").catch(() => {});
    }
  }, 1000);

  overlay.addEventListener("cancel", (event) => event.preventDefault());
  document.getElementById("lock-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const words = document.getElementById("lock-error");
    const password = document.getElementById("lock-password");
    try {
      const answer = await post("/session/unlock", { password: password.value }, { "X-Lock-Overlay": "1" });
      if (answer.status === 204) {
        unlocked();
        channel?.postMessage("unlocked");
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
