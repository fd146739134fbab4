// What every page begins with.
import { listen } from "./live.js";
import { startForms } from "./forms.js";
import { startKeyboard } from "./keyboard.js";
import { startClock } from "./clock.js";

startForms();
startKeyboard();
startClock();
listen();
