// The head of the page: how many devices, how many of them online and in sync, and the server itself.

import { h, number, percent, s } from "./dom.js";

export function showFleet({ fleet, error }) {
  if (!fleet) return [h("p", { class: "empty" }, error || "Reading the fleet…")];
  const tiles = [
    ring("Online", fleet.online, fleet.devices, "good"),
    ring("In sync", fleet.in_sync, fleet.devices, "accent"),
    tile("Models", number(fleet.models), "with versions to roll out"),
    tile("Rollouts under way", number(fleet.rollouts_active), fleet.rollouts_active ? "watched below" : "nothing moves"),
    tile("Messages", number(fleet.messages_per_s, 2), "per second from devices"),
  ];
  const cut = fleet.broker_connected === false && "The server has no connection to its broker: nothing reaches the devices.";
  return [h("h1", { class: "unseen" }, "Fleet"), cut && h("p", { class: "alarm", role: "alert" }, cut), error && h("p", { class: "alarm", role: "alert" }, error), h("div", { class: "tiles" }, tiles)].filter(Boolean);
}

function tile(title, value, note) {
  return h("div", { class: "tile" }, h("div", { class: "title" }, title), h("div", { class: "value" }, value), h("div", { class: "note" }, note));
}

function ring(title, part, whole, kind) {
  const share = whole ? part / whole : 0;
  const circle = 2 * Math.PI * 15;
  return h("div", { class: "tile with-ring" },
    h("div", {}, h("div", { class: "title" }, title), h("div", { class: "value" }, number(part), h("small", {}, ` of ${number(whole)}`)),
      h("div", { class: "note" }, whole ? percent(share, 0) : "no devices yet")),
    s("svg", { class: `ring r-${kind}`, viewBox: "0 0 36 36", "aria-hidden": "true" },
      s("circle", { cx: 18, cy: 18, r: 15, class: "track" }),
      share > 0 && s("circle", { cx: 18, cy: 18, r: 15, class: "arc", "stroke-dasharray": `${share * circle} ${circle}`, transform: "rotate(-90 18 18)" })));
}

export function showFoot(fleet) {
  const server = fleet?.server || {};
  const broker = [server.kind, server.broker].filter((part) => typeof part === "string").join(" at ");
  return [h("span", {}, `Edgeloop ${server.version || ""}`), broker && h("span", {}, `broker: ${broker}`),
    h("a", { href: "/docs" }, "REST API"), h("a", { href: "/metrics" }, "metrics")].filter(Boolean);
}
