// Elements and numbers: everything that the API says becomes text through here, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element: h("p", {class: "note"}, "text", child, …). */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const drawn = new WeakMap();

/** Replace what a place shows when its data changed; focus stays on the element with the same data-key. */
export function draw(place, data, build) {
  const form = JSON.stringify(data);
  if (drawn.get(place) === form) return;
  drawn.set(place, form);
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...place.querySelectorAll("details[open][data-key]")].map((item) => item.dataset.key));
  const shut = new Set([...place.querySelectorAll("details:not([open])[data-key]")].map((item) => item.dataset.key));
  place.replaceChildren(...[build(data)].flat());
  for (const item of place.querySelectorAll("details[data-key]")) {
    if (open.has(item.dataset.key)) item.open = true;
    else if (shut.has(item.dataset.key)) item.open = false;
  }
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

/** What to say where there is nothing yet: a sentence, and the command that changes that. */
export function empty(text, command) {
  return h("p", { class: "empty" }, text, " ", command && h("code", {}, command));
}

/** A state as a coloured word. */
export function badge(state) {
  return h("span", { class: `badge s-${String(state).replace(/[^a-z_]/g, "")}` }, String(state).replaceAll("_", " "));
}

/** A bar of several parts, each {share, kind}; shares are within 0..1. */
export function bar(parts, label) {
  let x = 0;
  const rects = parts.map(({ share, kind }) => {
    const rect = s("rect", { x: (x * 100).toFixed(3), y: 0, width: (share * 100).toFixed(3), height: 8, class: `f-${kind}` });
    x += share;
    return rect;
  });
  const attributes = { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": label };
  return s("svg", attributes, s("rect", { x: 0, y: 0, width: 100, height: 8, class: "f-rest" }), rects);
}

/** A line of numbers over time, with the last one beside it. */
export function spark(values, label, text) {
  const found = values.filter((value) => Number.isFinite(value));
  if (found.length === 0) return h("span", { class: "faint" }, "–");
  const top = Math.max(...found) || 1;
  const step = 100 / Math.max(1, found.length - 1);
  const points = found.map((value, index) => `${(index * step).toFixed(1)},${(23 - (value / top) * 20).toFixed(1)}`);
  const line = found.length > 1 && s("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("polygon", { points: `0,24 ${points.join(" ")} 100,24` }), s("polyline", { points: points.join(" ") }));
  return h("span", { class: "sparkline", title: `${label}: ${text}` }, line, h("span", { class: "num" }, text));
}

export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(Number(value))) return "–";
  const plain = Number(value);
  if (plain !== 0 && Math.abs(plain) < 1e-3) return plain.toExponential(1);
  return plain.toLocaleString("en", { maximumSignificantDigits: Math.abs(plain) >= 1000 ? undefined : digits, maximumFractionDigits: Math.abs(plain) >= 1000 ? 0 : undefined });
}

export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 1000) return `${value} B`;
  return value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(2)} MB`;
}

export function percent(value, digits = 1) {
  return Number.isFinite(value) ? `${(value * 100).toFixed(digits)} %` : "–";
}

export function latency(ms) {
  if (!Number.isFinite(ms)) return "–";
  return ms < 1 ? `${number(ms * 1000, 2)} µs` : `${number(ms, 3)} ms`;
}

/** A time as a word like "3 min ago", with the exact one on hover. */
export function ago(text, now = Date.now()) {
  const at = typeof text === "number" ? text : Date.parse(text);
  if (!Number.isFinite(at)) return h("span", { class: "faint" }, "never");
  const seconds = Math.max(0, (now - at) / 1000);
  const [count, unit] = seconds < 60 ? [seconds, "s"] : seconds < 3600 ? [seconds / 60, "min"]
    : seconds < 86400 ? [seconds / 3600, "h"] : [seconds / 86400, "d"];
  return h("time", { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() }, `${Math.floor(count)} ${unit} ago`);
}

/** A table: columns are [title, row → cell, class?]. */
export function table(caption, columns, rows, rowAttributes = () => ({})) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption, "data-key": `scroll-${caption}` },
    h("table", {}, h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title)))),
      h("tbody", {}, rows.map((row) => h("tr", rowAttributes(row),
        columns.map(([, cell, kind], index) => h(index ? "td" : "th", { class: kind, scope: index ? null : "row" }, cell(row))))))));
}
