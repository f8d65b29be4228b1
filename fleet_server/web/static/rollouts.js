// Rollouts: what their evidence says, phases as bars, and each device's state and reason.

import { SignedOutError, get } from "./api.js";
import { ago, badge, bar, empty, h, table } from "./dom.js";

const OPEN = new Set(["running", "paused", "halted"]);
const KINDS = ["succeeded", "failed", "running", "rest"];
const EXPLAINED = new Set(["running", "paused"]);
const MOST_EXPLAINED = 5;

/** The rollouts, those under way with the sentence that their evidence comes to. */
export async function explained(rollouts) {
  const open = rollouts.filter((rollout) => EXPLAINED.has(rollout.state)).slice(0, MOST_EXPLAINED);
  await Promise.all(open.map(async (rollout) => {
    const found = await get(`/rollouts/${encodeURIComponent(rollout.id)}/explain`).catch((error) => {
      if (error instanceof SignedOutError) throw error;
      return { sentence: error.message };
    });
    rollout.evidence = found.sentence;
  }));
  return rollouts;
}

export function showRollouts(rollouts) {
  if (!rollouts.length) return [empty("No rollouts yet. See first which devices would get what:", "edgeloop rollout start MODEL VERSION --group GROUP --dry-run")];
  return rollouts.map((rollout, index) => showRollout(rollout, OPEN.has(rollout.state) && index < 3));
}

function showRollout(rollout, open) {
  return h("article", { class: "card" },
    h("header", {}, h("h3", {}, `${rollout.model}@${rollout.version}`), h("span", { class: "faint" }, `→ ${rollout.group}`), badge(rollout.state),
      h("span", { class: "push faint" }, ago(rollout.updated))),
    rollout.reason && h("p", { class: "why" }, rollout.reason),
    rollout.evidence && h("p", { class: "faint", "data-evidence": rollout.id }, rollout.evidence),
    h("ol", { class: "phases" }, rollout.phases.map((phase) => showPhase(phase, phase.index === rollout.phase))),
    h("details", { open, "data-key": `r-${rollout.id}` },
      h("summary", { "data-key": `rs-${rollout.id}` }, `Devices of ${rollout.id}`),
      table(`Devices of rollout ${rollout.id}`, COLUMNS, rollout.phases.flatMap((phase) => phase.devices.map((device) => ({ ...device, phase: phase.index + 1 }))))));
}

const COLUMNS = [
  ["Device", (row) => h("strong", {}, row.device)],
  ["Phase", (row) => row.phase, "num"],
  ["State", (row) => badge(row.state)],
  ["Variant", (row) => row.variant || "–"],
  ["From", (row) => (row.from_version ? `version ${row.from_version}` : "nothing")],
  ["Reason", (row) => [row.reason || "", row.detail && h("div", { class: "faint" }, row.detail)]],
];

function showPhase(phase, current) {
  const counts = { succeeded: 0, failed: 0, running: 0, rest: 0 };
  for (const { state } of phase.devices) counts[kindOf(state)] += 1;
  const total = Math.max(1, phase.devices.length);
  const parts = KINDS.filter((kind) => kind !== "rest").map((kind) => ({ share: counts[kind] / total, kind }));
  return h("li", { class: current ? "current" : null, "aria-current": current ? "step" : null },
    h("div", { class: "row" }, h("span", {}, `Phase ${phase.index + 1}`), h("span", { class: "faint" }, phase.state),
      h("span", { class: "push num" }, `${phase.succeeded} of ${phase.total}`, phase.failed ? `, ${phase.failed} failed` : "")),
    bar(parts, `phase ${phase.index + 1}: ${phase.succeeded} of ${phase.total} succeeded, ${phase.failed} failed`));
}

function kindOf(state) {
  if (state === "succeeded") return "succeeded";
  if (["failed", "refused", "returned", "returning"].includes(state)) return "failed";
  return state === "offered" ? "running" : "rest";
}
