"use strict";
// The page can be read without this: it searches the claims, and opens what a link leads into.
const field = document.querySelector("#search");
field.hidden = false;
field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/);
  for (const line of document.querySelectorAll("#all tbody tr:not(.group)")) {
    const text = (line.id + " " + line.textContent).toLowerCase();
    line.classList.toggle("missed", !words.every((word) => text.includes(word)));
  }
});
// A phone shows the answers first.
if (matchMedia("(max-width: 40rem)").matches) for (const part of document.querySelectorAll(".words")) part.open = false;
function open() {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = place && place.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  if (place) place.scrollIntoView();
}
addEventListener("hashchange", open);
if (location.hash) open();
// Paper shows what is folded; browsers that cannot do so by style alone are helped.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => { for (const part of folded) part.open = false; });
