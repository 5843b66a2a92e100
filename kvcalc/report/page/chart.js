"use strict";
// Each figure over the context, both axes by powers: lines in colours and dashes, and below them what they are worth
// where the pointer or the arrow keys stand. The list below is the legend too, so that nothing hides the lines.

const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 640, height: 340, left: 84, right: 14, top: 12, bottom: 46 };
const STOPS_A_POWER = 2; // points between two powers of two, beside the powers

function draw(tag, attributes, parent, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function make(tag, parent, attributes = {}, text) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

const UNITS = { bytes: "bytes", flops: "FLOPs", duration: "seconds" };
const charts = [];

function setUpCharts(stops) {
  const home = document.getElementById("charts");
  for (const figure of DATA.figures) {
    const frame = make("figure", home);
    const caption = make("figcaption", frame);
    make("h3", caption, {}, figure.as === "flops" ? `${figure.title}, FLOPs` : figure.title);
    const plot = make("div", frame, {
      class: "plot",
      tabindex: "0",
      role: "slider",
      "aria-label": `${figure.title}: read it at a context`,
      "aria-valuemin": "0",
      "aria-valuemax": String(stops.length - 1),
    });
    const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, "aria-hidden": "true" }, plot);
    const told = make("p", frame, { class: "at" });
    const list = make("ul", frame, { class: "legend" });
    const chart = { figure, plot, svg, told, list, stops, at: 0, rows: [], items: [] };
    for (const line of figure.lines) {
      const item = make("li", list);
      swatch(item, line.report);
      make("span", item, { class: "who" }, line.label + roomOf(line));
      chart.items.push(make("span", item, { class: "worth" }));
    }
    plot.addEventListener("pointermove", (event) => readAt(chart, stopUnder(chart, event)));
    plot.addEventListener("pointerdown", (event) => readAt(chart, stopUnder(chart, event)));
    plot.addEventListener("pointerleave", () => readAt(chart, stopOf(stops, state.n)));
    plot.addEventListener("keydown", (event) => {
      const to = keyed(event.key, chart.at, stops.length);
      if (to === null) return;
      event.preventDefault();
      readAt(chart, to);
    });
    charts.push(chart);
  }
}

function swatch(parent, at) {
  const svg = draw("svg", { viewBox: "0 0 28 10", class: "swatch", "aria-hidden": "true" }, parent);
  draw("line", { x1: 0, x2: 28, y1: 5, y2: 5, class: `line ${style(at)}` }, svg);
}

// What a device has left for the cache, the dotted line across.
function roomOf(line) {
  if (!line.room) return "";
  return BigInt(line.room) > 0n ? `, of ${written(BigInt(line.room), "bytes")}` : ", of nothing";
}

// A colour and a dash, the same for a report in every figure: of neighbours either tells them apart.
function style(report) {
  return `s${report % DATA.colors} d${report % DATA.dashes}`;
}

function keyed(key, at, length) {
  const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 6, PageDown: -6 };
  if (key in moves) return Math.min(Math.max(at + moves[key], 0), length - 1);
  return { Home: 0, End: length - 1 }[key] ?? null;
}

// The stop nearest to a context, by powers.
function stopOf(stops, n) {
  const distances = stops.map((stop) => Math.abs(Math.log2(Number(stop)) - Math.log2(Number(n))));
  return distances.indexOf(Math.min(...distances));
}

function stopUnder(chart, event) {
  const box = chart.svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * BOX.width;
  const share = Math.min(Math.max((x - BOX.left) / (BOX.width - BOX.left - BOX.right), 0), 1);
  const first = Math.log2(Number(chart.stops[0]));
  const last = Math.log2(Number(chart.stops.at(-1)));
  return stopOf(chart.stops, BigInt(Math.round(2 ** (first + share * (last - first)))));
}

// Compute and draw every figure anew, for another batch say.
function drawCharts() {
  if (!charts.length) return;
  const computed = charts[0].stops.map((n) => compute(n, state.b));
  for (const chart of charts) {
    chart.rows = computed.map((all) => chart.figure.lines.map((line) => numberAt(line.value, line.report, all)));
    drawChart(chart);
    readAt(chart, stopOf(chart.stops, state.n));
  }
}

function drawChart(chart) {
  const { svg, stops, rows, figure } = chart;
  svg.replaceChildren();
  const xs = stops.map((n) => Math.log2(Number(n)));
  const rooms = figure.lines.map((line) => BigInt(line.room || 0));
  const values = [...rows.flat(), ...rooms].filter((value) => value !== null && value > 0).map((value) => Math.log2(Number(value)));
  const step = figure.as === "bytes" ? 1 : Math.log2(10);
  const low = Math.floor(Math.min(...values) / step);
  const high = Math.max(Math.ceil(Math.max(...values) / step), low + 1);
  if (!values.length) return;
  const x = scale(xs[0], xs.at(-1), BOX.left, BOX.width - BOX.right);
  const y = scale(low * step, high * step, BOX.height - BOX.bottom, BOX.top);
  const every = Math.ceil((high - low) / 6);
  for (let power = low; power <= high; power += every) {
    const text = short(powerOf(figure.as, power), figure.as === "flops" ? "decimal" : figure.as);
    rule(svg, BOX.left, BOX.width - BOX.right, y(power * step), y(power * step));
    draw("text", { x: BOX.left - 8, y: y(power * step) + 5, class: "tick end" }, svg, text);
  }
  const across = Math.ceil((xs.at(-1) - xs[0]) / 7);
  for (let power = Math.ceil(xs[0]); power <= xs.at(-1); power += across) {
    rule(svg, x(power), x(power), BOX.top, BOX.height - BOX.bottom);
    draw("text", { x: x(power), y: BOX.height - BOX.bottom + 21, class: "tick middle" }, svg, tokensShort(2n ** BigInt(power)));
  }
  draw("text", { x: BOX.width - BOX.right, y: BOX.height - 3, class: "tick end" }, svg, "tokens of context");
  figure.lines.forEach((line, at) => {
    const points = rows
      .map((row, stop) => [stop, row[at]])
      .filter(([, value]) => value !== null && value > 0)
      .map(([stop, value]) => `${x(xs[stop]).toFixed(1)},${y(Math.log2(Number(value))).toFixed(1)}`);
    if (points.length) draw("polyline", { points: points.join(" "), class: `line ${style(line.report)}` }, svg);
  });
  figure.lines.forEach((line, at) => {
    if (rooms[at] <= 0n) return;
    const height = y(Math.log2(Number(rooms[at])));
    draw("line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: height, y2: height, class: `roof ${style(line.report)}` }, svg);
  });
  chart.x = (stop) => x(xs[stop]);
  chart.y = (value) => y(Math.log2(Number(value)));
  chart.cursor = draw("g", { class: "cursor" }, svg);
}

function scale(from, to, start, end) {
  return (value) => start + (to === from ? 0 : (value - from) / (to - from)) * (end - start);
}

function rule(svg, x1, x2, y1, y2) {
  draw("line", { x1, x2, y1, y2, class: "grid" }, svg);
}

function powerOf(as, power) {
  if (as === "duration") return Number(`1e${power}`);
  return (as === "bytes" ? 2n : 10n) ** BigInt(Math.max(power, 0));
}

// '16 GiB', '1 T': a power for an axis.
function short(value, as) {
  return written(value, as).replace(/\.0+(?= |$)/, "");
}

function tokensShort(n) {
  if (n >= 1n << 20n && n % (1n << 20n) === 0n) return `${n >> 20n}m`;
  return n >= 1024n && n % 1024n === 0n ? `${n >> 10n}k` : String(n);
}

// Say what the lines are worth at a stop.
function readAt(chart, at) {
  if (!chart.x) return;
  chart.at = at;
  const n = chart.stops[at];
  const row = chart.rows[at];
  const told = row.map((value) => (state.exact ? `${exactly(value)} ${UNITS[chart.figure.as]}` : written(value, chart.figure.as)));
  const where = `${tokensText(n)}, batch ${count(state.b)}`;
  fill(chart.told, where);
  chart.items.forEach((item, line) => {
    fill(item, told[line]);
    item.title = exactly(row[line]);
  });
  chart.plot.setAttribute("aria-valuenow", String(at));
  chart.plot.setAttribute("aria-valuetext", `${where}: ${chart.figure.lines.map((line, i) => `${line.label} ${told[i]}`).join("; ")}`);
  chart.cursor.replaceChildren();
  draw("line", { x1: chart.x(at), x2: chart.x(at), y1: BOX.top, y2: BOX.height - BOX.bottom, class: "at" }, chart.cursor);
  row.forEach((value, line) => {
    if (value === null || value <= 0) return;
    const shape = { cx: chart.x(at), cy: chart.y(value), r: 4, class: `dot ${style(chart.figure.lines[line].report)}` };
    draw("circle", shape, chart.cursor);
  });
}
