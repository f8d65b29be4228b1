// The REST API with the session's cookie, and its event stream with polling where the stream fails.

const ROOT = "/api/v1";

export class SignedOutError extends Error {}

/** The JSON at a path; parameters that are empty are left out. */
export async function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = given.length ? `?${new URLSearchParams(given)}` : "";
  const answer = await fetch(ROOT + path + query, { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (answer.status === 401) throw new SignedOutError("not signed in");
  await refuse(answer);
  return answer.json();
}

/** Change something; JSON goes out, and nothing is read of the answer but a refusal. */
export async function send(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  await refuse(await fetch(ROOT + path, { method, credentials: "same-origin", headers, body: body && JSON.stringify(body) }));
}

async function refuse(answer) {
  if (answer.ok) return;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail || problem.title || `the server answered ${answer.status}`);
}

/** The items of a list, following its cursors up to `most`; and whether there are more. */
export async function list(path, parameters = {}, most = 500) {
  const items = [];
  let cursor;
  do {
    const page = await get(path, { ...parameters, cursor, limit: Math.min(200, most - items.length) });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < most);
  return { items, more: Boolean(cursor) };
}

const KINDS = ["fleet", "event", "rollout", "decision", "operation", "proposal"];
const POLL_MS = 10_000;

/** Tell `changed(kind, data)` of each event; while the stream is down, `changed("poll")` comes every ten seconds. */
export function follow(changed, state) {
  let timer = 0;
  const poll = (on) => {
    if (on && !timer) timer = setInterval(() => document.hidden || changed("poll", null), POLL_MS);
    if (!on && timer) timer = clearInterval(timer) || 0;
  };
  const open = () => {
    const source = new EventSource(`${ROOT}/stream`);
    source.addEventListener("open", () => { poll(false); state("live", "live"); changed("poll", null); });
    source.addEventListener("error", () => {
      poll(true);
      state("polling", "every 10 s");
      // A browser reconnects by itself unless the answer was an error; then try again, slowly.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 3 * POLL_MS);
    });
    for (const kind of KINDS) source.addEventListener(kind, (message) => changed(kind, parse(message.data)));
  };
  open();
}

function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}
