// The REST API with the session's cookie, and its event stream with polling where the stream fails.

const ROOT = "/api/v1";

export class SignedOutError extends Error {}

/** The JSON at a path; parameters that are empty are left out. */
export async function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = given.length ? `?${new URLSearchParams(given)}` : "";
  const answer = await fetch(ROOT + path + query, { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (answer.status === 401 || answer.status === 403) throw new SignedOutError("not signed in");
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || problem.title || `the server answered ${answer.status}`);
  }
  return answer.json();
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

const KINDS = ["fleet", "event", "rollout", "decision", "operation"];
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
