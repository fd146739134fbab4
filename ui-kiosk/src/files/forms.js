// Forms that keep their page, and files that are handed over.
import { refresh } from "./live.js";

export function startForms() {
  document.addEventListener("submit", submit);
  document.addEventListener("change", upload);
  document.addEventListener("keydown", enter);
  document.addEventListener("input", grow);
}

async function submit(event) {
  const form = event.target;
  if (!form.hasAttribute("data-quiet")) return;
  event.preventDefault();
  // A browser that is in a hurry sends twice; the key makes it one message.
  if (form.dataset.sending) return;
  form.dataset.sending = "1";
  const refused = form.querySelector(".refused");
  try {
    const body = new URLSearchParams(new FormData(form, event.submitter));
    const answer = await fetch(form.action, { method: "POST", body, headers: { "x-kith-quiet": "1" } });
    if (refused) {
      refused.hidden = answer.ok;
      refused.textContent = answer.ok ? "" : await answer.text();
    }
    if (answer.ok) done(form);
  } catch {
    // What was typed stays, and the page says that its program is away.
  } finally {
    delete form.dataset.sending;
  }
  refresh();
}

function done(form) {
  form.reset();
  const { key, text } = form.elements;
  if (key) key.value = crypto.randomUUID();
  if (text) {
    text.style.height = "";
    text.focus();
  }
}

function enter(event) {
  const isText = event.target.matches?.("form.send textarea");
  if (isText && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
}

function grow(event) {
  const area = event.target;
  if (area.tagName !== "TEXTAREA") return;
  area.style.height = "";
  area.style.height = `${Math.min(area.scrollHeight + 2, 200)}px`;
}

async function upload(event) {
  const { upload: address, token } = event.target.dataset ?? {};
  const file = address && event.target.files[0];
  if (!file) return;
  const headers = { "x-kith-token": token, "content-type": "application/octet-stream" };
  const answer = await fetch(address, { method: "POST", body: file, headers }).catch(() => ({ ok: false }));
  document.getElementById("upload-refused").hidden = answer.ok;
  refresh();
}
