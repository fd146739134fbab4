// Keeps a page true. The event stream says that something is new; the page then asks for itself again and takes over
// what has changed. It is never loaded anew, so what somebody is typing stays.
import { showTimes } from "./clock.js";

/** How long to wait before a stream that was refused is tried again. */
const RETRY_MS = 2000;

let source = null;
let asking = false;
let askAgain = false;

/** Listens from now on. */
export function listen() {
  settle(true);
  if (!document.body.dataset.mark) return;
  document.addEventListener("visibilitychange", watch);
  watch();
}

/** A page that nobody sees does not listen: browsers have six connections for all pages of a site. What it has missed
 *  it is told when it is seen again. */
function watch() {
  if (document.visibilityState === "visible") {
    if (!source) open();
    markRead();
  } else {
    source?.close();
    source = null;
  }
}

function open() {
  const own = new EventSource(`/events?since=${encodeURIComponent(document.body.dataset.mark)}`);
  source = own;
  own.addEventListener("open", () => lost(false));
  own.addEventListener("change", refresh);
  own.addEventListener("error", () => {
    lost(true);
    if (own.readyState === EventSource.CLOSED) setTimeout(reopen, RETRY_MS, own);
  });
}

/** A stream that was refused: the session may be over, which the page itself then says. */
async function reopen(refused) {
  await refresh();
  if (source !== refused) return;
  source = null;
  watch();
}

function lost(is) {
  document.getElementById("lost").hidden = !is;
}

/** Takes over what has changed. While one answer is awaited, more news ask once more and not once each. */
export async function refresh() {
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  do {
    askAgain = false;
    try {
      const answer = await fetch(location.href, { headers: { "x-kith-again": "1" } });
      if (answer.redirected) location.replace(answer.url);
      else take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The stream says when it is back.
    }
  } while (askAgain);
  asking = false;
}

function take(fresh) {
  const body = document.body;
  if (!fresh.body.dataset.page) return;
  if (fresh.body.dataset.mark) body.dataset.mark = fresh.body.dataset.mark;
  if (fresh.body.dataset.page !== body.dataset.page) exchange(fresh);
  else for (const part of fresh.querySelectorAll("[data-live]")) replace(part);
}

/** Another page stands at this address now: the messenger was locked, or is back. */
function exchange(fresh) {
  document.title = fresh.title;
  document.body.dataset.page = fresh.body.dataset.page;
  const keys = document.getElementById("keys");
  document.querySelector("header").replaceWith(fresh.querySelector("header"));
  document.getElementById("keys").replaceWith(keys);
  document.querySelector("main").replaceWith(fresh.querySelector("main"));
  document.querySelector("main [autofocus]")?.focus();
  document.dispatchEvent(new Event("kith-exchanged"));
  settle(true);
}

function replace(part) {
  const old = document.getElementById(part.id);
  if (!old || old.dataset.source === part.outerHTML) return;
  const source = part.outerHTML;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const atEnd = isAtEnd(old);
  const top = old.scrollTop;
  const opened = [...old.querySelectorAll("details")].map((details) => details.open);
  old.replaceWith(part);
  part.dataset.source = source;
  part.querySelectorAll("details").forEach((details, index) => (details.open = opened[index] ?? false));
  if (focused) document.getElementById(focused)?.focus();
  part.scrollTop = top;
  settle(atEnd);
}

function isAtEnd(element) {
  return element.scrollTop + element.clientHeight >= element.scrollHeight - 40;
}

function settle(toEnd) {
  showTimes();
  const messages = document.getElementById("messages");
  if (messages && toEnd) messages.scrollTop = messages.scrollHeight;
  if (messages && !messages.dataset.followed) {
    messages.dataset.followed = "1";
    follow(messages);
  }
  markRead();
}

/** Whoever reads the newest messages goes on doing so when the keyboard comes, or the screen is turned. */
function follow(messages) {
  let atEnd = true;
  messages.addEventListener("scroll", () => (atEnd = isAtEnd(messages)), { passive: true });
  new ResizeObserver(() => {
    if (atEnd) messages.scrollTop = messages.scrollHeight;
  }).observe(messages);
}

/** What somebody can see has been read. */
function markRead() {
  const seq = document.getElementById("messages")?.dataset.unread;
  const form = document.querySelector("form.quick, form.send");
  if (!seq || !form || document.visibilityState !== "visible") return;
  const body = new URLSearchParams({ token: form.elements.token.value, seq });
  fetch(`${location.pathname}/read`, { method: "POST", body, headers: { "x-kith-quiet": "1" } }).catch(() => {});
}
