// Proposals to make a model anew: why, how far, what the trainer measured; and a person's word where one is owed.

import { send } from "./api.js";
import { ago, badge, empty, h, percent } from "./dom.js";

const OPEN = new Set(["proposed", "accepted", "training", "registered", "signed", "rolling"]);
// A rollout that was begun is steered there.
const DECLINABLE = new Set(["proposed", "accepted", "training", "registered", "signed"]);

export function showProposals(proposals, asker, changed) {
  if (!proposals.length) return [empty("No proposals yet. Drift opens one for a model with a pipeline:", "edgeloop model pipeline set MODEL --help")];
  const may = (asker?.permissions || []).includes("publish");
  return proposals.map((proposal) => showProposal(proposal, may, changed));
}

function showProposal(proposal, may, changed) {
  const problem = h("p", { role: "alert" });
  const id = encodeURIComponent(proposal.id);
  const accept = () => send("POST", `/proposals/${id}/accept`);
  const decline = (reason) => send("POST", `/proposals/${id}/decline`, { reason });
  const say = async (word) => {
    problem.textContent = "";
    try {
      await word();
      changed();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  return h("article", { class: "card" },
    h("header", {}, h("h3", {}, `${proposal.model}@${proposal.version}`), proposal.made && h("span", { class: "faint" }, `→ version ${proposal.made}`),
      badge(proposal.state), h("span", { class: "push faint" }, ago(proposal.changed))),
    h("p", {}, proposal.sentence),
    proposal.reason !== proposal.sentence && h("p", { class: "why" }, proposal.reason),
    proposal.verdict && h("ul", {}, showFigures(proposal.verdict)),
    may && OPEN.has(proposal.state) && showWords(proposal, () => say(accept), (reason) => say(() => decline(reason))), problem);
}

function showFigures({ newest, backtest }) {
  return [["newest rows, unseen", newest], ["back-test", backtest]].map(([name, item]) => h("li", {},
    `${name}: ${percent(item.running)} → ${percent(item.retrained)}, gain at least ${percent(item.lower)} (${item.rows} rows)`));
}

function showWords(proposal, accept, decline) {
  const reason = h("input", { type: "text", required: true, maxlength: 500, placeholder: "why not", "aria-label": `Why ${proposal.id} is declined`, "data-key": `pr-${proposal.id}` });
  const submit = (event) => {
    event.preventDefault();
    decline(reason.value.trim());
  };
  return h("form", { class: "row", onsubmit: submit },
    proposal.state === "proposed" && h("button", { type: "button", "data-key": `pa-${proposal.id}`, onclick: accept }, "Accept"),
    DECLINABLE.has(proposal.state) && [reason, h("button", { type: "submit" }, "Decline")]);
}
