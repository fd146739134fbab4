// The on-screen keyboard: it types into whatever field has the focus.

const KEPT = "kith-keyboard";
const keyboard = () => document.getElementById("keyboard");

let wanted = false;
let capital = false;
let touching = false;

export function startKeyboard() {
  const kept = localStorage.getItem(KEPT);
  wanted = kept === null ? matchMedia("(pointer: coarse)").matches : kept === "on";
  const keys = document.getElementById("keys");
  keys.hidden = false;
  keys.addEventListener("click", () => {
    wanted = !wanted;
    localStorage.setItem(KEPT, wanted ? "on" : "off");
    if (wanted && !isField(document.activeElement)) fields()[0]?.focus();
    show();
  });
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", () => setTimeout(show));
  document.addEventListener("kith-exchanged", show);
  // A keyboard that went away under the finger would move what is being touched.
  addEventListener("pointerdown", () => (touching = true), { capture: true });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(release), { capture: true });
  // The field keeps the focus.
  keyboard().addEventListener("pointerdown", (event) => event.preventDefault());
  keyboard().addEventListener("mousedown", (event) => event.preventDefault());
  keyboard().addEventListener("click", press);
  show();
}

function release() {
  touching = false;
  show();
}

function fields() {
  return [...document.querySelectorAll("main input, main textarea")].filter(isField);
}

function isField(element) {
  return element?.matches?.("textarea, input:not([type=hidden], [type=checkbox], [type=file])") ?? false;
}

function show() {
  const field = document.activeElement;
  const visible = wanted && isField(field);
  document.getElementById("keys").setAttribute("aria-pressed", String(wanted));
  if (keyboard().hidden === !visible || (touching && !visible)) return;
  keyboard().hidden = !visible;
  document.body.classList.toggle("typing", visible);
  if (!visible) return;
  layer(field.inputMode === "numeric" ? "signs" : "letters");
  field.scrollIntoView({ block: "nearest" });
}

function press(event) {
  const { key, control } = event.target.closest("button")?.dataset ?? {};
  const field = document.activeElement;
  if (!isField(field)) return;
  if (key) type(field, capital ? key.toLocaleUpperCase() : key);
  else if (control === "space") type(field, " ");
  else if (control === "delete") remove(field);
  else if (control === "enter") field.form?.requestSubmit();
  else if (control === "layer") layer(current() === "letters" ? "signs" : "letters");
  if (control === "shift" || (key && capital)) shift(control === "shift" && !capital);
}

function type(field, text) {
  const limit = field.maxLength;
  if (limit >= 0 && field.value.length >= limit) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

function remove(field) {
  const { selectionStart: start, selectionEnd: end } = field;
  // What people take for one character may be two places long.
  const before = start === end ? [...field.value.slice(0, start)].at(-1)?.length ?? 0 : 0;
  field.setRangeText("", start - before, end, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

function current() {
  return keyboard().querySelector(".layer:not([hidden])").dataset.layer;
}

function layer(name) {
  for (const each of keyboard().querySelectorAll(".layer")) each.hidden = each.dataset.layer !== name;
  shift(false);
}

function shift(is) {
  capital = is;
  keyboard().classList.toggle("capital", is);
}
