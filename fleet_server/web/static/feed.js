// What was decided and why, and what devices say happened.

import { ago, badge, empty, h } from "./dom.js";

export function showFeed(events, decisions) {
  return [h("div", { class: "columns" },
    h("div", {}, h("h3", {}, "Decisions"), decisions.length ? h("ol", { class: "feed" }, decisions.map(showDecision))
      : empty("None yet: a rollout makes the first.", "edgeloop decisions")),
    h("div", {}, h("h3", {}, "Events"), events.length ? h("ol", { class: "feed" }, events.map(showEvent))
      : empty("None yet: devices tell when they boot and update.", "edgeloop events --follow")))];
}

function showDecision(one) {
  return h("li", {}, h("div", { class: "row" }, badge(one.kind), h("strong", {}, `${one.model}@${one.version}`), h("span", { class: "push faint" }, ago(one.at))),
    h("p", {}, one.reason), h("p", { class: "faint" }, `by ${one.author}`, one.rollout && ` · rollout ${one.rollout}`));
}

function showEvent(one) {
  return h("li", {}, h("div", { class: "row" }, badge(one.code), h("strong", {}, one.device || one.source || ""), h("span", { class: "faint" }, one.model || ""),
    h("span", { class: "push faint" }, ago(one.at))), one.detail && h("p", {}, one.detail));
}
