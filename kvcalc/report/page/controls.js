"use strict";
// The sliders move by easy numbers, their fields take any; a change computes everything anew.

const WORDS_OF = { n: tokensText, b: (b) => `${count(b)} sequence${b === 1n ? "" : "s"}` };

// Powers of two and what lies between them by quarters, with the numbers that must be among them.
function easyNumbers(least, most, more) {
  const found = new Set(more);
  for (let power = 1n; power <= most; power *= 2n) {
    for (const part of [4n, 5n, 6n, 7n]) found.add((power * part) / 4n);
  }
  return [...found].filter((value) => value >= least && value <= most).sort((a, b) => (a < b ? -1 : 1));
}

function powersBetween(stops) {
  const most = stops.at(-1);
  const least = max(LEAST.n, min(1024n, START.n));
  const found = new Set([least, START.n, most]);
  for (let power = 1n; power <= most; power *= 2n) {
    for (let part = 0; part < STOPS_A_POWER; part += 1) found.add(BigInt(Math.round(Number(power) * 2 ** (part / STOPS_A_POWER))));
  }
  return [...found].filter((n) => n >= least && n <= most).sort((a, b) => (a < b ? -1 : 1));
}

const STOPS = {
  n: easyNumbers(max(LEAST.n, min(START.n, 256n)), max(max(BigInt(DATA.largest), START.n), 1n << 20n), [START.n, BigInt(DATA.largest)]),
  b: easyNumbers(1n, max(START.b, 1024n), [START.b]),
};

function setUpControls() {
  for (const name of ["n", "b"]) {
    const slider = document.getElementById(`${name}-slider`);
    const field = document.getElementById(`${name}-field`);
    slider.max = STOPS[name].length - 1;
    slider.addEventListener("input", () => set({ [name]: STOPS[name][slider.valueAsNumber] }));
    field.addEventListener("change", () => read(name, field));
  }
  document.getElementById("settings").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("settings").addEventListener("reset", (event) => {
    event.preventDefault();
    set(START);
  });
  document.getElementById("exact").addEventListener("change", (event) => set({ exact: event.target.checked }));
}

// Take what was typed, or say what would be right and leave everything as it is.
function read(name, field) {
  const value = parseSize(field.value);
  const right = value !== null && value >= LEAST[name] && value <= MOST[name];
  field.setAttribute("aria-invalid", String(!right));
  const refused = document.getElementById(`${name}-refused`);
  fill(refused, right ? "" : `a whole number from ${count(LEAST[name])} to ${count(MOST[name])}: 32768, 32k or 1m`);
  if (right) set({ [name]: value });
}

let waiting = false;

function set(changes) {
  Object.assign(state, changes);
  showControls();
  if (waiting) return; // one frame shows the last of many moves
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    show();
  });
}

function showControls() {
  for (const name of ["n", "b"]) {
    const slider = document.getElementById(`${name}-slider`);
    slider.value = stopOf(STOPS[name], state[name]);
    slider.setAttribute("aria-valuetext", WORDS_OF[name](state[name]));
    const field = document.getElementById(`${name}-field`);
    field.value = count(state[name]);
    field.setAttribute("aria-invalid", "false");
    fill(document.getElementById(`${name}-refused`), "");
  }
}

let drawnFor = null;

function show() {
  state.computed = compute(state.n, state.b);
  fillNumbers(document);
  fillWords();
  sortTable();
  drawLayers();
  drawRoofline();
  if (drawnFor === state.b) charts.forEach((chart) => readAt(chart, stopOf(chart.stops, state.n)));
  else drawCharts();
  drawnFor = state.b;
  announceSoon();
}

let announcing = 0;

// A screen reader hears the headline once the slider rests.
function announceSoon() {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    const cards = [...document.querySelectorAll(".card")].slice(0, 4);
    const told = cards.map((card) => `${card.querySelector("h3").textContent} ${card.querySelector("[data-v]").textContent}`);
    fill(document.getElementById("status"), `${settingText()}. Cache: ${told.join("; ")}`);
  }, 500);
}

addEventListener("toggle", (event) => fillNumbers(event.target), true); // it does not bubble

// What is open is on paper too: every formula, or those that its reader opened.
const first = new Set(document.querySelectorAll("details[open]"));
document.getElementById("every").addEventListener("change", (event) => {
  for (const details of document.querySelectorAll("details")) details.open = event.target.checked || first.has(details);
});

document.documentElement.classList.add("live");
setUpTable();
setUpCharts(powersBetween(STOPS.n));
setUpRoofline();
setUpControls();
showControls();
show();
