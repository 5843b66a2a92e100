"use strict";
// The roofline: each report's decode step, filled, and its prefill, hollow, at FLOPs a byte and FLOPs a second at most,
// under the roofs of what the machine computes and moves. The list below says it in words, and is the legend.

const SHAPES = [
  (x, y) => `M${x - 6},${y}a6,6 0 1,0 12,0a6,6 0 1,0 -12,0z`,
  (x, y) => `M${x - 5.5},${y - 5.5}h11v11h-11z`,
  (x, y) => `M${x},${y - 7}l7,12h-14z`,
];
let roofline = null;

function setUpRoofline() {
  if (!DATA.roofline) return;
  const frame = make("figure", document.getElementById("roof"));
  const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, "aria-hidden": "true" }, make("div", frame, { class: "plot" }));
  const told = make("p", frame, { class: "at" });
  const list = make("ul", frame, { class: "legend" });
  const items = DATA.roofline.lines.map((line) => {
    const item = make("li", list);
    const mark = draw("svg", { viewBox: "0 0 28 16", class: "swatch", "aria-hidden": "true" }, item);
    drawPoint(mark, line.report, "decode", 14, 8);
    const words = make("span", item, { class: "who" }, line.label);
    return Object.fromEntries(Object.keys(line.points).map((phase) => [phase, make("small", words)]));
  });
  for (const [label] of DATA.roofline.roofs) make("li", list, { class: "roofs" }, `roof: ${label}`);
  roofline = { svg, told, items };
}

function drawRoofline() {
  if (!roofline) return;
  const { svg, told, items } = roofline;
  const { roofs, lines } = DATA.roofline;
  const placed = lines.flatMap((line, at) =>
    Object.entries(line.points).map(([phase, refs]) => {
      const [x, y] = refs.map((ref) => numberAt(ref, line.report, state.computed));
      const there = x > 0 && y > 0;
      const words = there ? `${written(x, "decimal")} FLOPs a byte, ${written(y, "decimal")}FLOP/s` : NOT_APPLICABLE;
      fill(items[at][phase], `${phase} ${words}`);
      return { report: line.report, phase, x, y, there, words: `${line.label}, ${phase}: ${words}` };
    }),
  ).filter(({ there }) => there);
  fill(told, `${settingText()}; filled: decode, hollow: prefill`);
  svg.replaceChildren();
  if (!placed.length) return;
  const ridges = roofs.map(([, rate, moved]) => rate / moved);
  const [left, right] = decadesAround([...placed.map(({ x }) => x), ...ridges]);
  const [, top] = decadesAround(roofs.map(([, rate]) => rate));
  const [bottom] = decadesAround([...placed.map(({ y }) => y), ...roofs.map(([, , moved]) => moved * 10 ** left)]);
  const x = scale(left, right, BOX.left, BOX.width - BOX.right);
  const y = scale(bottom, top, BOX.height - BOX.bottom, BOX.top);
  drawDecades(svg, left, right, bottom, top, x, y);
  for (const [, rate, moved] of roofs) {
    const corners = [[10 ** left, moved * 10 ** left], [rate / moved, rate], [10 ** right, rate]];
    const points = corners.map(([a, b]) => `${x(Math.log10(a)).toFixed(1)},${y(Math.log10(b)).toFixed(1)}`);
    draw("polyline", { points: points.join(" "), class: "line over" }, svg);
  }
  for (const one of placed) drawPoint(svg, one.report, one.phase, x(Math.log10(one.x)), y(Math.log10(one.y)), one.words);
}

function drawPoint(svg, report, phase, x, y, words) {
  const look = phase === "decode" ? `f${report % DATA.colors}` : "dot";
  const shape = SHAPES[report % SHAPES.length];
  const mark = draw("path", { d: shape(x, y), class: `point s${report % DATA.colors} ${look}` }, svg);
  if (words) draw("title", {}, mark, words);
}

function decadesAround(values) {
  return [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
}

function drawDecades(svg, left, right, bottom, top, x, y) {
  for (let power = left; power <= right; power += 1) {
    rule(svg, x(power), x(power), BOX.top, BOX.height - BOX.bottom);
    draw("text", { x: x(power), y: BOX.height - BOX.bottom + 21, class: `tick ${power === right ? "end" : "middle"}` }, svg, short(10 ** power, "decimal"));
  }
  for (let power = bottom; power <= top; power += 1) {
    rule(svg, BOX.left, BOX.width - BOX.right, y(power), y(power));
    draw("text", { x: BOX.left - 8, y: y(power) + 5, class: "tick end" }, svg, short(10 ** power, "decimal"));
  }
  draw("text", { x: BOX.width - BOX.right, y: BOX.height - 3, class: "tick end" }, svg, "FLOPs a byte");
  draw("text", { x: BOX.left + 6, y: BOX.top + 14, class: "tick" }, svg, "FLOP/s at most");
}
