"use strict";
// What the page is about, and its numbers: every element with data-v is one of them, kept in step with the settings.
// data-v is '12', the place in what its report's function returns; '=4096', which never varies; 'a/b', one over the
// other; 'a>b' is what bounds a phase; and '0:12' is a number of report 0.

const DATA = JSON.parse(document.getElementById("data").textContent);
const START = { n: BigInt(DATA.n), b: BigInt(DATA.b) };
const LEAST = { n: BigInt(DATA.least), b: 1n };
const MOST = { n: 10n ** 12n, b: 10n ** 9n };
const state = { ...START, exact: false, computed: [] };

// Every report's numbers at a context and a batch; of one that has none there, null.
function compute(n, b) {
  return PROGRAMS.map((program) => {
    try {
      return program(n, b);
    } catch (error) {
      if (error instanceof RangeError) return null; // a formula that does not divide, as kvcalc would say
      throw error;
    }
  });
}

function numberAt(ref, report, computed) {
  if (ref === "") return null;
  if (ref.includes("/")) {
    const [above, below] = ref.split("/").map((part) => numberAt(part, report, computed));
    return above === null || below === null ? null : ratioOf(above, below);
  }
  if (ref.includes(">")) {
    const [compute, memory] = ref.split(">").map((part) => numberAt(part, report, computed));
    return compute === null ? null : compute > memory ? "compute" : "memory";
  }
  if (ref.startsWith("=")) return BigInt(ref.slice(1));
  const [other, place] = ref.includes(":") ? ref.split(":") : [report, ref];
  const found = computed[other];
  return found === null ? null : found[place];
}

function reportOf(element) {
  return Number(element.closest("[data-report]").dataset.report);
}

// What is typed again is not written again: of thousands of formulas most stay as they are.
function fill(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What is folded away is filled when it is opened.
const IN_SIGHT = "[data-v]:not(details:not([open]) > :not(summary) *)";

function fillNumbers(root) {
  for (const element of root.querySelectorAll(IN_SIGHT)) {
    const value = numberAt(element.dataset.v, reportOf(element), state.computed);
    const as = element.dataset.as;
    if (!as) {
      fill(element, value === null ? NOT_APPLICABLE : inFormula(value));
    } else {
      fill(element, state.exact ? exactly(value) : written(value, as));
      element.title = exactly(value);
    }
  }
}

function tokensText(n) {
  return `${count(n)} token${n === 1n ? "" : "s"}`;
}

function settingText() {
  return `${tokensText(state.n)} of context, batch ${count(state.b)}`;
}

function fillWords() {
  for (const element of document.querySelectorAll(".setting")) fill(element, settingText());
  for (const element of document.querySelectorAll(".beyond")) {
    const last = state.n + BigInt(DATA.generate);
    const limit = BigInt(element.dataset.limit);
    fill(element, last > limit ? `${tokensText(last)} are beyond its max_position_embeddings, ${count(limit)}` : "");
  }
  const command = [...DATA.command, "--context", state.n, "--batch", state.b].join(" ");
  fill(document.getElementById("command"), command);
  const failed = DATA.labels.filter((_, at) => state.computed[at] === null);
  fill(document.getElementById("failed"), failed.length ? `${failed.join(", ")}: no whole number at ${settingText()}` : "");
}
