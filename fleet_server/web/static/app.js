// The page's frame: what is fetched when, and which section shows it. The sections are in their own files.

import { SignedOutError, follow, get, list } from "./api.js";
import { showDevices, traffic } from "./devices.js";
import { showDrift, wireDrift } from "./drift.js";
import { draw, h } from "./dom.js";
import { showFeed } from "./feed.js";
import { showFleet, showFoot } from "./fleet.js";
import { showModels } from "./models.js";
import { showProposals } from "./proposals.js";
import { explained, showRollouts } from "./rollouts.js";
import { showAsker, showSignin } from "./signin.js";

const GAP_MS = 1500;
const HEALTH_MS = 10_000;
const DRIFT_MS = 30_000;
const MANY = 100;
const HEALTH_SPAN_MS = 30 * 60_000;

const state = {
  fleet: null, devices: { items: [], more: false }, rollouts: [], models: [], versions: {}, groups: [],
  proposals: [], asker: null, health: [], events: [], decisions: [], drift: null, choice: {}, filter: "", error: "",
};
const body = (id) => document.querySelector(`#${id} [data-body]`);

const loaders = {
  fleet: async () => { state.fleet = await get("/fleet"); },
  devices: async () => { state.devices = await list("/devices", {}, 500); },
  rollouts: async () => { state.rollouts = await explained((await list("/rollouts", {}, 30)).items); },
  proposals: async () => { state.proposals = (await list("/proposals", {}, 20)).items; },
  groups: async () => { state.groups = (await list("/groups", {}, 200)).items; },
  models: async () => {
    state.models = (await list("/models", {}, 50)).items;
    await Promise.all(state.models.map(async ({ name: model }) => {
      state.versions[model] = (await list(`/models/${encodeURIComponent(model)}/versions`, {}, 50)).items;
    }));
  },
  health: async () => {
    const since = new Date(Date.now() - HEALTH_SPAN_MS).toISOString();
    const found = (await list("/health", { since }, 2000)).items;
    // A fleet that has been quiet for long, or a clock that is off: then the last reports, whenever they were.
    state.health = found.length ? found : (await list("/health", {}, 400)).items;
  },
  events: async () => { state.events = (await list("/events", {}, 40)).items; },
  decisions: async () => { state.decisions = (await list("/decisions", {}, 40)).items; },
  drift: async () => {
    const asked = state.choice;
    if (!asked.model) return;
    const found = await get("/drift", asked).catch((error) => {
      if (error instanceof SignedOutError) throw error;
      return { note: error.message, features: [] };
    });
    if (asked === state.choice) state.drift = found;
  },
};

const FOLLOWS = {
  fleet: ["fleet", "devices"],
  event: ["events", "devices"],
  rollout: ["rollouts", "devices", "fleet"],
  decision: ["decisions", "rollouts"],
  operation: ["models", "fleet"],
  proposal: ["proposals", "models"],
  poll: ["fleet", "devices", "rollouts", "events", "decisions", "models", "groups", "proposals"],
};

const dirty = new Set();
let scheduled = 0;

/** Fetch these nouns again soon; changes that come close together make one fetch. */
function touch(nouns, gap = GAP_MS) {
  nouns.forEach((noun) => dirty.add(noun));
  if (gap === 0) clearTimeout(scheduled);
  if (!scheduled || gap === 0) scheduled = setTimeout(refresh, gap);
}

async function refresh() {
  const nouns = [...dirty];
  dirty.clear();
  scheduled = 0;
  const ended = await Promise.allSettled(nouns.map((noun) => loaders[noun]()));
  const failed = ended.filter((one) => one.status === "rejected").map((one) => one.reason);
  if (failed.some((reason) => reason instanceof SignedOutError)) { signedOut(); return; }
  state.error = failed.length ? failed[0].message : "";
  render();
}

function render() {
  draw(document.querySelector("#fleet"), [state.fleet, state.error], () => showFleet(state));
  draw(body("rollouts"), state.rollouts, showRollouts);
  draw(body("proposals"), [state.proposals, state.asker], () => showProposals(state.proposals, state.asker, () => touch(["proposals"], 0)));
  const shown = traffic(state.devices, state.health, state.filter);
  draw(body("devices"), [shown, Math.floor(Date.now() / 10_000)], () => showDevices(shown));
  draw(body("models"), [state.models, state.versions, running()], () => showModels(state.models, state.versions, running()));
  if (wireDrift(state)) touch(["drift"], 0);
  draw(body("drift"), [state.drift, state.choice], () => showDrift(state.drift, state.choice));
  draw(body("feed"), [state.events, state.decisions, Math.floor(Date.now() / 30_000)], () => showFeed(state.events, state.decisions));
  draw(document.querySelector("#foot"), state.fleet?.server, () => showFoot(state.fleet));
}

/** How many devices run each model@version variant. */
function running() {
  const found = {};
  for (const device of state.devices.items) {
    for (const { model, version, variant } of device.running || []) {
      const key = `${model}@${version} ${variant}`;
      found[key] = (found[key] || 0) + 1;
    }
  }
  return found;
}

function live(kind, text) {
  const place = document.querySelector("#live");
  place.dataset.state = kind;
  place.textContent = text;
}

function signedOut() {
  document.querySelector("#board").hidden = true;
  document.querySelector(".top nav").hidden = true;
  document.querySelector("#who").hidden = true;
  const place = document.querySelector("#signin");
  place.hidden = false;
  place.replaceChildren(...showSignin());
  live("waiting", "signed out");
}

async function begin() {
  try {
    await loaders.fleet();
  } catch (error) {
    if (error instanceof SignedOutError) { signedOut(); return; }
    live("polling", "no answer");
    const place = document.querySelector("#signin");
    place.hidden = false;
    place.replaceChildren(h("h1", {}, "The server does not answer"), h("p", {}, String(error.message)),
      h("p", {}, "Start it with ", h("code", {}, "edgeloop up"), ", then reload this page."));
    return;
  }
  document.querySelector("#board").hidden = false;
  const who = document.querySelector("#who");
  get("/session").then((asker) => { state.asker = asker; render(); who.replaceChildren(...showAsker(asker)); who.hidden = false; }, () => null);
  document.querySelector("#device-filter").addEventListener("input", (event) => {
    state.filter = event.target.value.trim().toLowerCase();
    render();
  });
  for (const name of ["model", "version", "group"]) {
    document.querySelector(`#drift-${name}`).addEventListener("change", (event) => {
      state.choice = { ...state.choice, [name]: event.target.value };
      if (name === "model") state.choice.version = "";
      state.drift = null;
      render();
      touch(["drift"], 0);
    });
  }
  Object.keys(loaders).forEach((noun) => dirty.add(noun));
  await refresh();
  follow((kind, data) => {
    if (kind === "fleet" && data && state.fleet) { state.fleet = { ...state.fleet, ...data }; render(); }
    // With many devices, a change of the message rate alone does not read them all again: the clock does.
    const rateAlone = kind === "fleet" && data && Object.keys(data).join() === "messages_per_s";
    if (!rateAlone || state.devices.items.length < MANY) touch(FOLLOWS[kind]);
  }, live);
  setInterval(() => document.hidden || touch(["health", "devices"]), HEALTH_MS);
  setInterval(() => document.hidden || touch(["drift", "models"]), DRIFT_MS);
}

begin();
