// Models: each version's variants with size, agreement and latency, and how many devices run them.

import { ago, badge, bar, bytes, empty, h, latency, number, percent, table } from "./dom.js";

export function showModels(models, versions, running) {
  if (!models.length) return [empty("No models yet. Push a version that trainer made:", "edgeloop model push DIR")];
  return models.map(({ name: model }) => showModel(model, [...(versions[model] || [])].sort((a, b) => b.version - a.version), running));
}

function showModel(model, versions, running) {
  const card = versions[0]?.card || {};
  return h("article", { class: "card" },
    h("header", {}, h("h3", {}, model), h("span", { class: "faint" }, [card.task, card.description].filter(Boolean).join(" · "))),
    versions.map((version, index) => showVersion(version, running, index === 0)));
}

function showVersion(version, running, open) {
  const card = version.card || {};
  const metrics = Object.entries(card.metrics || {}).map(([name, value]) => `${name} ${number(value, 4)}`).join(" · ");
  const users = (version.variants || []).reduce((sum, one) => sum + (running[`${version.model}@${version.version} ${one.variant}`] || 0), 0);
  const largest = Math.max(1, ...(version.variants || []).map((one) => one.size || 0));
  const columns = [
    ["Variant", (one) => [h("strong", {}, one.variant), one.form && h("div", { class: "faint" }, one.form)]],
    ["Size", (one) => one.size && [h("span", { class: "num" }, bytes(one.size)), bar([{ share: one.size / largest, kind: "accent" }], `${bytes(one.size)}`)]],
    ["Packed", (one) => bytes(one.packed_size), "num"],
    ["Agreement", (one) => percent(one.parity?.label_agreement, 2), "num"],
    ["Max difference", (one) => number(one.parity?.max_abs_diff, 2), "num"],
    ["Median latency", (one) => latency(one.cost ? one.cost.latency_p50_us / 1000 : NaN), "num"],
    ["Proven on", (one) => (one.certificate || []).map((proof) => h("div", { class: "faint", title: proof.reason }, `${proof.package} ${proof.version}${proof.reason ? " ✗" : ""}`))],
    ["On devices", (one) => (one.digest ? number(running[`${version.model}@${version.version} ${one.variant}`] || 0) : [badge("not_built"), h("div", { class: "faint" }, one.reason)]), "num"],
  ];
  return h("details", { open, "data-key": `v-${version.model}-${version.version}` },
    h("summary", { "data-key": `vs-${version.model}-${version.version}` }, h("strong", {}, `version ${version.version}`), version.release && version.release !== "signed" && badge(version.release), h("span", { class: "faint" }, metrics),
      h("span", { class: "push" }, users ? `${users} ${users === 1 ? "device" : "devices"}` : "no device"), h("span", { class: "faint" }, ago(version.created))),
    h("p", { class: "faint" }, card.estimator, card.estimator_latency_p50_us ? ` · ${latency(card.estimator_latency_p50_us / 1000)} a row in scikit-learn` : ""),
    (version.advice || []).map((sentence) => h("p", {}, `A much smaller model would do: ${sentence}`)),
    table(`Variants of ${version.model} ${version.version}`, columns, version.variants || []));
}
