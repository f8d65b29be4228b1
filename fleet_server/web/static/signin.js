// What a browser without a session sees: how to get a link, and a field for one.

import { h } from "./dom.js";

export function showSignin() {
  const field = h("input", { id: "signin-link", type: "text", required: true, autocomplete: "off", spellcheck: "false",
    placeholder: "http://…/signin?code=…", "aria-describedby": "signin-how" });
  const submit = (event) => {
    event.preventDefault();
    const code = codeOf(field.value);
    if (code) location.assign(`/signin?code=${encodeURIComponent(code)}`);
  };
  return [
    h("h1", {}, "Sign in"),
    h("p", { id: "signin-how" }, "This page opens with a link that works once. ", h("code", {}, "edgeloop up"),
      " prints one when the server starts. For a new one, on the machine where the server runs:"),
    h("pre", {}, h("code", {}, "edgeloop signin")),
    h("form", { onsubmit: submit }, h("label", { for: "signin-link" }, "Link or code"), h("div", { class: "row" }, field,
      h("button", { type: "submit" }, "Sign in"))),
  ];
}

/** The code of a pasted link, or the text itself. */
export function codeOf(text) {
  const plain = text.trim();
  const found = /[?&]code=([^&#\s]+)/.exec(plain);
  return found ? decodeURIComponent(found[1]) : plain;
}
