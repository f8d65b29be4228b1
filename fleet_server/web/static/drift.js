// Drift by feature: bars, or a map where the names are pixels of a picture.

import { badge, empty, h, number, percent, s, table } from "./dom.js";

const BARS = 16;
// A PSI of 0.25 is by custom a major shift: it fills the bar, and is the last step of the map's colours.
const FULL_PSI = 0.25;
const STEPS = 7;

/** Offer the models, versions and groups there are; true when a model was chosen for the first time. */
export function wireDrift(state) {
  const first = !state.choice.model && state.models.length > 0;
  if (first) state.choice = { model: state.models[0].name, version: "", group: "" };
  offer("model", state.models.map(({ name }) => [name, name]), state.choice.model);
  const versions = (state.versions[state.choice.model] || []).map(({ version }) => version).sort((a, b) => b - a);
  offer("version", [["", "newest"], ...versions.map((version) => [version, version])], state.choice.version);
  offer("group", [["", "all devices"], ...state.groups.map(({ name }) => [name, name])], state.choice.group);
  return first;
}

function offer(name, pairs, chosen) {
  const place = document.querySelector(`#drift-${name}`);
  const form = JSON.stringify(pairs);
  if (place.dataset.form !== form) {
    place.dataset.form = form;
    place.replaceChildren(...pairs.map(([value, text]) => h("option", { value }, text)));
  }
  if (document.activeElement !== place) place.value = chosen ?? "";
}

export function showDrift(drift, choice) {
  if (!choice.model) return [empty("Nothing to compare yet: drift shows once a model's devices close windows.", "edgeloop drift MODEL")];
  if (!drift) return [empty("Reading…")];
  const features = drift.features || [];
  if (!features.length) {
    return [empty(drift.note || "No windows yet: a device closes one after an hour or 10,000 rows, unless its settings say otherwise.", `edgeloop drift ${choice.model}`)];
  }
  const moved = features.filter((one) => one.drifted);
  const alone = (drift.devices || []).filter((one) => one.state === "drift");
  const sorted = [...features].sort((a, b) => (b.psi || 0) - (a.psi || 0));
  const grid = pixels(features);
  return [h("div", { class: "card drift" },
    h("div", { class: "row" }, badge(drift.state), h("span", {}, `${moved.length} of ${features.length} features moved`),
      h("span", { class: "faint" }, `${number(drift.rows)} rows in ${number(drift.windows)} windows of ${devices(drift)}`),
      drift.since && h("span", { class: "faint" }, "since ", h("time", { datetime: drift.since }, drift.since))),
    drift.sentence && h("p", { class: "verdict" }, drift.sentence),
    drift.truth && h("p", { class: "row" }, badge(drift.truth.state), h("span", {}, drift.truth.sentence)),
    drift.output && (drift.output.explanation || drift.output.drifted) && h("p", {}, "Answers: ", drift.output.explanation || "moved"),
    h("div", { class: "drift-body" }, grid && map(grid), bars(sorted.slice(0, grid ? 10 : BARS))),
    h("details", { "data-key": "drift-table" }, h("summary", { "data-key": "drift-summary" }, "All features as a table"), table("Drift by feature", COLUMNS, sorted)),
    alone.length > 0 && h("details", { "data-key": "drift-devices" },
      h("summary", { "data-key": "drift-devices-summary" }, alone.length === 1 ? "1 device drifts by itself" : `${alone.length} devices drift by themselves`),
      table("Devices that drift by themselves", DEVICE_COLUMNS, alone)))];
}

function devices(drift) {
  const found = drift.devices || [];
  return found.length === 1 ? "1 device" : `${found.length} devices`;
}

const COLUMNS = [
  ["Feature", (row) => h("strong", {}, row.feature)],
  ["PSI", (row) => number(row.psi, 3), "num"],
  ["p value", (row) => number(row.p_value, 2), "num"],
  ["Shift in σ", (row) => number(row.shift_sigma, 3), "num"],
  ["Verdict", (row) => badge(row.drifted ? "drifted" : "steady")],
  ["Explanation", (row) => row.explanation || ""],
];

const DEVICE_COLUMNS = [
  ["Device", (row) => h("strong", {}, row.device)],
  ["Since", (row) => row.since || ""],
  ["How", (row) => row.sentence || ""],
];

function bars(rows) {
  return h("ul", { class: "bars", "aria-label": "Most moved features" }, rows.map((row) => h("li", { title: row.explanation || null },
    h("span", { class: "name" }, row.feature),
    s("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { x: 0, y: 0, width: 100, height: 8, class: "f-rest" }),
      s("rect", { x: 0, y: 0, width: Math.min(100, ((row.psi || 0) / FULL_PSI) * 100), height: 8, class: row.drifted ? "f-failed" : "f-accent" })),
    h("span", { class: "num" }, number(row.psi, 2)))));
}

/** The features as a picture, where every name ends in a row and a column: [{row, column, …}], else null. */
export function pixels(features) {
  const found = features.map((one) => {
    const match = /^(?:pixel|px|p)_?(\d+)_(\d+)$/.exec(one.feature);
    return match && { ...one, row: Number(match[1]), column: Number(match[2]) };
  });
  return found.length > 3 && found.every(Boolean) ? found : null;
}

function map(cells) {
  const rows = 1 + Math.max(...cells.map((cell) => cell.row));
  const columns = 1 + Math.max(...cells.map((cell) => cell.column));
  const moved = cells.filter((cell) => cell.drifted).length;
  return h("figure", { class: "map" },
    s("svg", { viewBox: `0 0 ${columns * 10} ${rows * 10}`, role: "img", "aria-label": `Map of ${rows} by ${columns} pixels: ${percent(moved / cells.length, 0)} moved` },
      cells.map((cell) => s("rect", { x: cell.column * 10 + 0.5, y: cell.row * 10 + 0.5, width: 9, height: 9, rx: 1.5, class: `h${level(cell.psi)}` },
        s("title", {}, `${cell.feature}: PSI ${number(cell.psi, 3)}${cell.explanation ? `, ${cell.explanation}` : ""}`)))),
    h("figcaption", { class: "row faint" }, h("span", {}, "PSI 0"), s("svg", { class: "scale", viewBox: `0 0 ${STEPS * 10} 6`, "aria-hidden": "true" },
      Array.from({ length: STEPS }, (_, step) => s("rect", { x: step * 10, y: 0, width: 9, height: 6, rx: 1, class: `h${step}` }))), h("span", {}, `≥ ${FULL_PSI}`)));
}

function level(psi) {
  return Math.max(0, Math.min(STEPS - 1, Math.round(((psi || 0) / FULL_PSI) * (STEPS - 1))));
}
