// Runs the page's script against the few browser objects that it uses, and prints what it asked and showed, as JSON.
// Usage: node page_harness.mjs SCRIPT_FILE PATHNAME STATUS ANSWER PHOTO_BYTES

import { readFileSync } from "node:fs";
import vm from "node:vm";

const [scriptFile, pathname, status, answer, size] = process.argv.slice(2);
const asked = [];
const listeners = {};

function element(name) {
  return {
    name, textContent: "", children: [], attributes: {}, hidden: false, src: "",
    classList: { state: {}, toggle(word, on) { this.state[word] = on; } },
    append(...more) { this.children.push(...more); },
    replaceChildren(...only) { this.children = only; },
    setAttribute(key, value) { this.attributes[key] = value; },
    addEventListener(kind, listener) { listeners[name + ":" + kind] = listener; },
  };
}

const elements = {};
const sandbox = {
  location: { pathname },
  document: {
    getElementById: (id) => (elements[id] ??= element(id)),
    createElement: element,
    addEventListener: (kind, listener) => { listeners["document:" + kind] = listener; },
  },
  URL: { createObjectURL: () => "blob:photo", revokeObjectURL: () => {} },
  fetch: async (url, options) => {
    asked.push({ url, method: options.method, type: options.headers["Content-Type"], bytes: options.body.size });
    return { ok: status === "200", status: Number(status), json: async () => JSON.parse(answer) };
  },
};

vm.runInNewContext(readFileSync(scriptFile, "utf8"), sandbox);
listeners["file:change"]({ target: { files: [{ size: Number(size), type: "image/png" }], value: "x" } });
await new Promise((done) => setTimeout(done, 20));
const rows = elements.classes.children.map((item) => [...item.children[0].children.map((span) => span.textContent), item.children[1].value]);
const bad = Boolean(elements.status.classList.state.bad);
console.log(JSON.stringify({ asked, status: elements.status.textContent, bad, rows, model: elements.model.textContent }));
