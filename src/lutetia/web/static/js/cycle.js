// What-if on the cycle page: each slider moves its number and the other way round; htmx sends what the form then holds.

for (const slider of document.querySelectorAll("[data-mirrors]")) {
  const number = document.getElementById(slider.dataset.mirrors);
  slider.addEventListener("input", () => { number.value = slider.value; });
  number.addEventListener("input", () => { if (number.value !== "") slider.value = number.value; });
}
