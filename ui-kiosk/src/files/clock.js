// Times in the zone and the words of this browser, and the clock of the idle screen.

/** How long nobody touches a page before the idle screen comes. */
const IDLE_MS = 5 * 60 * 1000;

const language = document.documentElement.lang;
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const hour = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const date = new Intl.DateTimeFormat(language, { dateStyle: "full" });

/** Says all times of the page in words. */
export function showTimes() {
  const today = new Date().toDateString();
  for (const element of document.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    const text = (time.toDateString() === today ? hour : day).format(time);
    if (element.textContent !== text) element.textContent = text;
  }
}

export function startClock() {
  tick();
  if (document.body.dataset.page !== "idle") watchForIdleness();
}

function tick() {
  const now = new Date();
  const put = (what, text) => {
    const element = document.querySelector(`[data-clock="${what}"]`);
    if (element) element.textContent = text;
  };
  put("time", hour.format(now));
  put("date", date.format(now));
  // A page that has none now may become one that has.
  setTimeout(tick, 60000 - (now.getTime() % 60000));
}

function watchForIdleness() {
  let timer;
  const restart = () => {
    clearTimeout(timer);
    timer = setTimeout(rest, IDLE_MS);
  };
  for (const event of ["pointerdown", "keydown", "wheel"]) addEventListener(event, restart, { passive: true });
  restart();
}

function rest() {
  // Where somebody is signing in or setting up, what they have typed so far stays.
  if (["enter", "set-up", "locked", "screen-locked", "away"].includes(document.body.dataset.page)) return;
  // Where there is a PIN, an idle screen is a locked one.
  const lock = document.getElementById("lock");
  if (lock) lock.requestSubmit();
  else location.assign("/idle");
}
