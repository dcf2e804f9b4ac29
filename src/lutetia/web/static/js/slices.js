// The slice viewer: scroll by wheel, keys or slider; neighbouring slices are fetched ahead.

const viewer = document.getElementById("viewer");
const form = document.getElementById("viewer-form");
const stage = viewer.querySelector(".stage");
const picture = document.getElementById("slice");
const label = document.getElementById("level");
const slider = form.elements.namedItem("level");
const views = Object.fromEntries(JSON.parse(viewer.dataset.views).map((v) => [v.name, { ...v, level: v.middle }]));
const ahead = new Map();
let wanted = 0;

const view = () => views[form.elements.namedItem("view").value];

function address(level) {
  const options = new URLSearchParams();
  for (const name of ["window", "opacity"]) {
    const input = form.elements.namedItem(name);
    if (input) options.set(name, input.value);
  }
  if (!form.elements.namedItem("outlines").checked) options.set("outlines", "no");
  return `${viewer.dataset.path}/${view().name}/${level}.png?${options}`;
}

function load(url) {
  if (!ahead.has(url)) {
    const image = new Image();
    image.src = url;
    ahead.set(url, image.decode().then(() => url));
    if (ahead.size > 60) ahead.delete(ahead.keys().next().value);
  }
  return ahead.get(url);
}

function show() {
  const { level, levels } = view();
  slider.max = levels - 1;
  slider.value = level;
  label.textContent = label.dataset.words.replace("{level}", level + 1).replace("{levels}", levels);
  const turn = ++wanted;
  load(address(level)).then((url) => {
    if (turn !== wanted) return;
    picture.src = url;
    for (const next of [level + 1, level - 1, level + 2]) {
      if (next >= 0 && next < levels) load(address(next)).catch(() => {});
    }
  }).catch(() => {});
}

function go(level) {
  const now = view();
  now.level = Math.min(Math.max(level, 0), now.levels - 1);
  show();
}

const STEPS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10 };

stage.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step) go(view().level + step);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(view().levels - 1);
  else if ("123".includes(event.key)) { form.elements.namedItem("view")[Number(event.key) - 1].checked = true; show(); }
  else if (event.key === "o" || event.key === "O") { const box = form.elements.namedItem("outlines"); box.checked = !box.checked; show(); }
  else return;
  event.preventDefault();
});
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.deltaY) go(view().level + Math.sign(event.deltaY));
}, { passive: false });
let from = null;
stage.addEventListener("pointerdown", (event) => { from = { y: event.clientY, level: view().level }; stage.focus(); });
stage.addEventListener("pointermove", (event) => { if (from && event.buttons) go(from.level + Math.round((event.clientY - from.y) / 6)); });
addEventListener("pointerup", () => { from = null; });
slider.addEventListener("input", () => go(Number(slider.value)));
form.addEventListener("change", () => show());
form.addEventListener("submit", (event) => event.preventDefault());
show();
stage.focus({ preventScroll: true });
