// Follows what happens: rows of the list, or the message that is open. The page is complete without it.
"use strict";

const status = document.querySelector(".connection");

/** Rows of one page of the list. */
const PAGE = 100;

function say(text, connected) {
  status.hidden = false;
  status.textContent = text;
  status.classList.toggle("lost", !connected);
}

/** Puts a row, escaped by the server, into the list: in its place if it is there, else on top. */
function putRow(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const row = template.content.firstElementChild;
  const old = document.getElementById(row.id);
  if (old) {
    const focused = old.contains(document.activeElement);
    old.replaceWith(row);
    if (focused) row.querySelector("a").focus();
  } else {
    row.classList.add("new");
    const messages = document.getElementById("messages");
    messages.prepend(row);
    while (messages.children.length > PAGE) messages.lastElementChild.remove();
    document.getElementById("empty").hidden = true;
  }
}

/** What a reader has opened or closed stays so: whatever can be has a key of its own. */
function keepDetails(from, to) {
  const states = new Map();
  for (const details of from.querySelectorAll("details")) {
    states.set(details.dataset.key, details.open);
  }
  for (const details of to.querySelectorAll("details")) {
    const open = states.get(details.dataset.key);
    if (open !== undefined) details.open = open;
  }
}

/**
 * Reads the page anew and takes over the parts that differ: what stays is not touched, nor is its focus. Each part of
 * a page that is followed has an id.
 */
async function refresh() {
  const response = await fetch(location.href);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const now = document.querySelector("main");
  const then = page.querySelector("main");
  keepDetails(now, then);
  const ids = new Set([...then.children].map((part) => part.id));
  let last = null;
  for (const part of [...then.children]) {
    const old = [...now.children].find((child) => child.id === part.id);
    const inUse = old?.matches(".tools") && old.contains(document.activeElement);
    if (old && (inUse || old.isEqualNode(part))) {
      last = old;
      continue;
    }
    if (old) old.replaceWith(part);
    else if (last) last.after(part);
    else now.prepend(part);
    last = part;
  }
  for (const child of [...now.children]) {
    if (!ids.has(child.id)) child.remove();
  }
}

/** One refresh at a time; what comes meanwhile asks for one more. */
let refreshing = null;
let again = false;
function refreshSoon() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = refresh().catch(() => {}).finally(() => {
    refreshing = null;
    if (again) {
      again = false;
      refreshSoon();
    }
  });
}

if (document.body.dataset.live) {
  const events = new EventSource(document.body.dataset.live);
  events.addEventListener("open", () => {
    say("live", true);
    // What happened between the page and this connection.
    refreshSoon();
  });
  events.addEventListener("error", () => say("not connected", false));
  events.addEventListener("row", (event) => putRow(event.data));
  events.addEventListener("total", (event) => {
    document.getElementById("total").textContent = Number(event.data).toLocaleString("en");
  });
  events.addEventListener("stale", refreshSoon);
  events.addEventListener("changed", refreshSoon);
  // A page that is left must not count against the browser's six connections.
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
