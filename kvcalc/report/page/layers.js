"use strict";
// The layer map's picture: a bar a layer, as high as what that layer keeps of one sequence. The table below it says
// the same in numbers, so to a screen reader the picture is one sentence.

const BAR = { width: 10, gap: 2, height: 90 };

function drawLayers() {
  for (const map of DATA.maps) {
    const section = document.querySelector(`section.map[data-report="${map.report}"]`);
    const kept = map.kinds.map((kind) => numberAt(kind.bytes, map.report, state.computed));
    const layers = stacked(map.kinds, kept);
    const most = layers.reduce((found, parts) => max(found, parts.reduce((sum, [, bytes]) => sum + bytes, 0n)), 0n);
    const width = layers.length * (BAR.width + BAR.gap);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${BAR.height + 4}`, preserveAspectRatio: "none", role: "img" });
    svg.setAttribute("aria-label", map.kinds.map((kind, at) => `${kind.layers.length} layers of ${kind.label} keep ${written(kept[at], "bytes")} each`).join("; "));
    layers.forEach((parts, layer) => drawBar(svg, layer, parts, most));
    section.querySelector(".picture").replaceChildren(svg);
  }
}

// By layer: the kinds in it and their bytes.
function stacked(kinds, kept) {
  const layers = [];
  kinds.forEach((kind, at) => {
    for (const layer of kind.layers) (layers[layer] ??= []).push([kind, kept[at] ?? 0n]);
  });
  return [...layers].map((parts) => parts ?? []);
}

function drawBar(svg, layer, parts, most) {
  const x = layer * (BAR.width + BAR.gap);
  let y = BAR.height;
  const group = draw("g", {}, svg);
  draw("title", {}, group, `layer ${layer}: ${parts.map(([kind, bytes]) => `${kind.label}, ${written(bytes, "bytes")}`).join("; ")}`);
  draw("rect", { x, y: 0, width: BAR.width, height: BAR.height, class: "room" }, group);
  for (const [kind, bytes] of parts) {
    const height = most === 0n ? 0 : (Number(bytes) / Number(most)) * BAR.height;
    const shown = bytes > 0n ? Math.max(height, 2) : 0;
    y -= shown;
    draw("rect", { x, y, width: BAR.width, height: shown, class: `bar f${kind.colour}` }, group);
    draw("rect", { x, y: BAR.height + 1, width: BAR.width, height: 3, class: `bar f${kind.colour}` }, group);
  }
}
