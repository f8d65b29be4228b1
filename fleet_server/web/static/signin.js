// What a browser without a session sees: a name and a password, or how to get a link; and afterwards who is signed in.

import { send } from "./api.js";
import { h } from "./dom.js";

export function showSignin() {
  return [h("h1", {}, "Sign in"), byName(), h("h2", {}, "Or by a link"), ...byLink()];
}

function byName() {
  const name = h("input", { id: "signin-name", type: "text", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { id: "signin-password", type: "password", required: true, autocomplete: "current-password" });
  const button = h("button", { type: "submit" }, "Sign in");
  const problem = h("p", { id: "signin-problem", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await send("POST", "/session", { name: name.value.trim(), password: password.value });
      location.replace("/");
    } catch (error) {
      password.value = "";
      problem.textContent = error.message;
      button.disabled = false;
      password.focus();
    }
  };
  return h("form", { id: "signin-by-name", onsubmit: submit },
    h("label", { for: "signin-name" }, "Name"), h("div", { class: "row" }, name),
    h("label", { for: "signin-password" }, "Password"), h("div", { class: "row" }, password, button), problem);
}

function byLink() {
  const field = h("input", { id: "signin-link", type: "text", required: true, autocomplete: "off", spellcheck: "false",
    placeholder: "http://…/signin?code=…", "aria-describedby": "signin-how" });
  const submit = (event) => {
    event.preventDefault();
    const code = codeOf(field.value);
    if (code) location.assign(`/signin?code=${encodeURIComponent(code)}`);
  };
  return [
    h("p", { id: "signin-how" }, "A link works once. ", h("code", {}, "edgeloop up"),
      " prints one when the server starts. For a new one, where you have a key:"),
    h("pre", {}, h("code", {}, "edgeloop signin")),
    h("form", { id: "signin-by-link", onsubmit: submit }, h("label", { for: "signin-link" }, "Link or code"),
      h("div", { class: "row" }, field, h("button", { type: "submit" }, "Sign in"))),
  ];
}

/** Who is signed in, as what, and a way out. */
export function showAsker(asker) {
  const limits = [...(asker.groups || []), ...(asker.models || [])];
  const leave = async () => {
    await send("DELETE", "/session").catch(() => null);
    location.replace("/");
  };
  return [h("span", {}, asker.name, h("span", { class: "faint" }, ` · ${asker.role}`, limits.length > 0 && ` of ${limits.join(", ")}`)),
    h("button", { type: "button", id: "signout", onclick: leave }, "Sign out")];
}

/** The code of a pasted link, or the text itself. */
export function codeOf(text) {
  const plain = text.trim();
  const found = /[?&]code=([^&#\s]+)/.exec(plain);
  return found ? decodeURIComponent(found[1]) : plain;
}
