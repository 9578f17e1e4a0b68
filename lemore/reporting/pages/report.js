"use strict";

const dialog = document.querySelector("dialog");
let enlarged = null; // the button whose picture the dialog shows

// Tables: a header's button sorts by its column, the other way round, then as it was.
function compare(a, b) {
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
}

function nextDirection(header) {
  const order = header.classList.contains("number")
    ? ["none", "descending", "ascending"]
    : ["none", "ascending", "descending"];
  return order[(order.indexOf(header.getAttribute("aria-sort")) + 1) % order.length];
}

function sort(header) {
  const direction = nextDirection(header), column = header.cellIndex;
  for (const other of header.parentNode.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", direction);
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  for (const body of header.closest("table").tBodies) { // each part stays under its heading
    const rows = [...body.rows].filter(row => row.className !== "heading");
    rows.forEach((row, i) => { row.dataset.place ??= i; });
    rows.sort((a, b) => {
      if (direction === "none") return a.dataset.place - b.dataset.place;
      const x = value(a), y = value(b);
      if (!x || !y) return !x - !y; // empty cells last, whichever way
      return direction === "ascending" ? compare(x, y) : compare(y, x);
    });
    body.append(...rows);
  }
}

for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sort(button.parentNode));
}

// Chosen images: one layer at a time over the photographs.
function show(viewer) {
  const layer = viewer.querySelector("input[type=radio]:checked").value;
  const wrong = viewer.querySelector("input[type=checkbox]").checked && layer > 1; // 1: the truth
  const opacity = viewer.querySelector("input[type=range]").value / 100;
  for (const map of viewer.querySelectorAll(".map")) {
    map.hidden = map.dataset.layer !== layer || "wrong" in map.dataset !== wrong;
    map.style.opacity = opacity;
  }
  for (const text of viewer.querySelectorAll(".remark")) text.hidden = text.dataset.layer !== layer;
  refresh();
}

for (const viewer of document.querySelectorAll(".viewer")) {
  viewer.querySelector(".controls").addEventListener("input", () => show(viewer));
  show(viewer); // a browser may have kept the choice of an earlier visit
}

// Figures and chosen images, enlarged in a dialog; arrow keys go through the layers.
function refresh() {
  if (!enlarged) return;
  const picture = enlarged.firstElementChild.matches("img") ? enlarged.firstElementChild : enlarged.querySelector(".stack");
  dialog.querySelector(".picture").replaceChildren(picture.cloneNode(true));
  dialog.querySelector("p").textContent = enlarged.parentNode.querySelector("figcaption").innerText;
}

function step(by) {
  const choices = [...(enlarged.closest(".viewer")?.querySelectorAll("input[type=radio]") ?? [])];
  if (!choices.length) return;
  const at = choices.findIndex(choice => choice.checked);
  choices[(at + by + choices.length) % choices.length].checked = true;
  show(enlarged.closest(".viewer"));
}

function enlarge(button) {
  enlarged = button;
  dialog.classList.remove("actual");
  for (const other of dialog.querySelectorAll(".step")) other.hidden = !button.closest(".viewer");
  refresh();
  dialog.showModal();
}

for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => enlarge(button));
}
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.querySelector(".size").addEventListener("click", () => dialog.classList.toggle("actual"));
dialog.querySelector(".back").addEventListener("click", () => step(-1));
dialog.querySelector(".on").addEventListener("click", () => step(1));
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => { enlarged = null; });
dialog.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(event.key === "ArrowLeft" ? -1 : 1);
});

// Paper shows what is folded up on the screen.
let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const details of unfolded) details.open = true;
});
window.addEventListener("afterprint", () => { for (const details of unfolded) details.open = false; });
