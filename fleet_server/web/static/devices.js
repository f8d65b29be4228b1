// The table of devices: who is there, what each runs, how an update gets on, throughput and latency.

import { ago, badge, bar, empty, h, latency, number, spark, table } from "./dom.js";

const POINTS = 40;

/** Devices that the filter leaves, each with its series of rows per second and median latency, oldest first. */
export function traffic(devices, health, filter) {
  const series = {};
  for (const report of [...health].sort((a, b) => stamp(a) - stamp(b))) {
    const key = `${report.device} ${report.model}`;
    (series[key] ||= []).push(report);
  }
  const rows = devices.items.map((device) => {
    const models = Object.entries(series).filter(([key]) => key.startsWith(`${device.id} `)).map(([, reports]) => reports.slice(-POINTS));
    return { device, rate: rates(models), p50: (longest(models)).map((report) => report.infer_ms_p50 || NaN) };
  });
  const kept = rows.filter(({ device }) => !filter || words(device).includes(filter));
  return { rows: kept, all: devices.items.length, more: devices.more, filter };
}

/** What the filter looks in: just what the table shows of a device. */
function words(device) {
  const marks = Object.entries(device.labels || {}).map(([key, value]) => `${key}=${value}`);
  const runs = (device.running || []).map((one) => `${one.model}@${one.version} ${one.variant}`);
  return [device.id, device.profile, present(device), ...marks, ...runs].join(" ").toLowerCase();
}

/** Whether it is there; of a device that takes no part, why not. */
const present = (device) => (!device.standing || device.standing === "active" ? device.presence : device.standing);
const stamp = (report) => report.ts ?? Date.parse(report.received);
const longest = (lists) => lists.reduce((best, one) => (one.length > best.length ? one : best), []);

/** Rows per second between neighbouring reports of the model that reports most; a counter that fell is a restart. */
function rates(models) {
  const reports = longest(models);
  return reports.slice(1).map((report, index) => {
    const seconds = (stamp(report) - stamp(reports[index])) / 1000;
    const rows = report.infer_n - reports[index].infer_n;
    return seconds > 0 && rows >= 0 ? rows / seconds : NaN;
  });
}

const last = (values) => values.filter(Number.isFinite).at(-1);

const COLUMNS = [
  ["Device", ({ device }) => [h("strong", {}, device.id), h("div", { class: "faint" }, device.profile, device.simulated && " · simulated"), labels(device.labels)]],
  ["Presence", ({ device }) => [badge(present(device)), h("div", { class: "faint" }, ago(device.last_seen))]],
  ["Runs", ({ device }) => runs(device)],
  ["Update", ({ device }) => update(device)],
  ["Rows/s", ({ rate }) => spark(rate, "rows per second", rate.length ? number(last(rate), 3) : "–"), "num"],
  ["Median latency", ({ p50 }) => spark(p50, "median latency of one row", latency(last(p50))), "num"],
  ["Errors", ({ device }) => errors(device.health), "num"],
];

export function showDevices({ rows, all, more, filter }) {
  if (!all) return [empty("No devices yet. Make a token, and run the command that it prints on a board:", "edgeloop device token")];
  if (!rows.length) return [empty(`None of ${all} devices matches “${filter}”.`)];
  return [table("Devices", COLUMNS, rows), more && empty(`The first ${all} are shown. All of them:`, "edgeloop device list")].filter(Boolean);
}

function labels(found) {
  const pairs = Object.entries(found || {});
  return pairs.length > 0 && h("div", { class: "labels" }, pairs.map(([key, value]) => h("span", { class: "label" }, `${key}=${value}`)));
}

function runs(device) {
  const found = device.running || [];
  if (!found.length) return h("span", { class: "faint" }, "nothing yet");
  return found.map((one) => h("div", {}, h("strong", {}, `${one.model}@${one.version}`), " ", h("span", { class: "faint" }, one.variant),
    one.attested === false && h("span", { class: "faint" }, " · soaking")));
}

function update(device) {
  const { progress, outcome } = device;
  if (progress) {
    const total = progress.chunks_total || 0;
    const share = total ? progress.chunks_done / total : 0;
    const trial = progress.trial > 1 ? ` · trial ${progress.trial}` : "";
    return [badge(progress.state), h("span", { class: "faint" }, trial), total > 0 && bar([{ share, kind: "running" }], `${progress.chunks_done} of ${total} chunks`)];
  }
  if (outcome && outcome.result !== "succeeded") return [badge(outcome.result), h("div", { class: "faint", title: outcome.detail }, outcome.reason)];
  return device.in_sync ? badge("in_sync") : badge("pending");
}

function errors(health) {
  const found = Object.values(health || {});
  if (!found.length) return h("span", { class: "faint" }, "–");
  const failed = found.reduce((sum, one) => sum + (one.err_n || 0), 0);
  const rejected = found.reduce((sum, one) => sum + (one.rejected_n || 0), 0);
  return [h("span", { class: failed ? "bad" : null }, number(failed)), rejected > 0 && h("div", { class: "faint" }, `${number(rejected)} rejected`)];
}

