// The page: takes files, runs the steps of the check, and shows what they find. Text from files is set as text nodes.

const element = id => document.getElementById(id);

/** Return a new HTML element with attributes and children, which are elements or text. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Characters that would hide or reorder text are shown by their code.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const visible = text =>
  `${text}`.replace(INVISIBLE, letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
const SHOWN = 2000; // Letters of a value.
const LISTED = 100; // Differences of a step that are in sight; the table has all.
const shorten = text =>
  text.length > SHOWN ? `${text.slice(0, SHOWN)} and ${text.length - SHOWN} more characters` : text;
const count = (number, name) => `${number.toLocaleString("en")} ${name}${number === 1 ? "" : "s"}`;

const RESULTS = {
  equal: "equal to the bit",
  close: "within the tolerance",
  different: "different",
  unchecked: "not checked",
};

/** The results of one step: its comparisons, shown as a table, with the differences first and in sight. */
class Section {
  constructor(title, number) {
    this.counts = { equal: 0, close: 0, different: 0, unchecked: 0 };
    this.id = `step${number}`;
    this.summary = make("p", { class: "finding" }, "waiting");
    this.differing = make("ul", { class: "differences" });
    this.unproven = make("ul", { class: "unproven" });
    this.body = make("tbody");
    const heading = ["file", "what", "in the run", "computed again", "result"].map(text =>
      make("th", { scope: "col" }, text),
    );
    const table = make("table", { class: "words" }, make("thead", {}, make("tr", {}, ...heading)), this.body);
    const region = make(
      "div",
      { class: "scroll", role: "region", tabindex: "0", "aria-label": `Comparisons: ${title}` },
      table,
    );
    this.details = make("details", { hidden: "" }, make("summary", {}, "Every comparison"), region);
    this.place = make("section", { class: "step", "aria-labelledby": this.id }, make("h2", { id: this.id }, title));
    this.place.append(this.summary, this.differing, this.unproven, this.details);
    this.title = title;
  }

  get differences() {
    return this.counts.different;
  }

  add(result, file, what, recorded, computed, reason, values) {
    this.counts[result] += values;
    const cells = [what, recorded, computed].map(text => make("td", {}, shorten(visible(text))));
    const words = reason ? `${RESULTS[result]}: ${shorten(visible(reason))}` : RESULTS[result];
    const row = make(
      "tr",
      { class: result },
      make("th", { scope: "row" }, shorten(visible(file))),
      ...cells,
      make("td", {}, words),
    );
    this.body.append(row);
    this.details.hidden = false;
  }

  equal(file, what, value, values = 1) {
    this.add("equal", file, what, value, value, "", values);
  }

  close(file, what, recorded, computed, values = 1) {
    this.add("close", file, what, recorded, computed, "", values);
  }

  unchecked(file, what, reason, values = 1) {
    this.add("unchecked", file, what, "", "", reason, values);
    this.unproven.append(
      make("li", {}, make("b", {}, visible(file)), ` ${visible(what)}: not checked, ${visible(reason)}`),
    );
  }

  different(file, what, recorded, computed, reason = "") {
    this.add("different", file, what, recorded, computed, reason, 1);
    const sentence = reason || `${shorten(visible(recorded))} in the run, ${shorten(visible(computed))} computed again`;
    const text = `${visible(what)}: ${visible(sentence)}`;
    if (this.counts.different > LISTED) return;
    this.differing.append(make("li", {}, make("b", {}, visible(file || "the run")), ` ${text}`));
  }

  note(text) {
    this.place.insertBefore(make("p", { class: "note" }, visible(text)), this.differing);
  }

  /** Write the sentence below the heading. */
  conclude() {
    this.summary.textContent = sentenceOf(this.counts);
    this.place.classList.toggle("wrong", this.counts.different > 0);
  }
}

/** Return a sentence such as `12 values are equal to the bit. 1 differs. 3 are not checked.` */
function sentenceOf({ equal, close, different, unchecked }) {
  const parts = [];
  if (equal) parts.push(`${count(equal, "value")} ${equal === 1 ? "is" : "are"} equal to the bit`);
  if (close) parts.push(`${count(close, "value")} ${close === 1 ? "is" : "are"} within the tolerance`);
  if (different) parts.push(different === 1 ? "1 value differs" : `${count(different, "value")} differ`);
  if (unchecked) parts.push(`${count(unchecked, "value")} ${unchecked === 1 ? "is" : "are"} not checked`);
  return parts.length ? `${parts.join(". ")}.` : "There was nothing to compare.";
}

let given = [];
let checking = null; // The AbortController of the check in progress.
let finished = Promise.resolve();
let checks = 0;

function showProgress(done, total, text) {
  element("bar").max = total || 1;
  element("bar").value = done;
  element("doing").textContent = visible(text);
}

/** Run all steps for the files that were given until now. */
async function check(signal) {
  const started = performance.now();
  const place = element("steps");
  place.replaceChildren();
  element("verdict").textContent = "";
  element("verdict").className = "";
  const state = { progress: showProgress, signal };
  const letters = atob(element("kernel").textContent.trim());
  state.kernel = Uint8Array.from(letters, letter => letter.charCodeAt(0));
  state.run = findRun(given);
  if (!state.run) {
    say("", "No run is among these files: drop the folder that holds config.json. The files stay here until then.");
    return;
  }
  state.images = await Images.among(given, state.run);
  const name = state.run.root.replace(/\/$/, "") || "the run";
  const total = { equal: 0, close: 0, different: 0, unchecked: 0 };
  const wrong = [];
  const sections = STEPS.map(([title], number) => new Section(title, number));
  place.append(...sections.map(section => section.place));
  for (const [number, [title, step]] of STEPS.entries()) {
    const section = sections[number];
    section.summary.textContent = "in progress";
    showProgress(0, 1, title);
    try {
      signal.throwIfAborted();
      await step(state, section);
    } catch (error) {
      if (signal.aborted) section.unchecked("", title, "the check was stopped");
      else if (error instanceof Obstacle) section.unchecked("", title, error.message);
      else if (error instanceof Fault) section.different(error.file, title, "", "", error.message);
      else section.different("", title, "", "", `a file is not what a run writes (${error.message})`);
    }
    section.conclude();
    if (section.differences) wrong.push(section);
    for (const key of Object.keys(total)) total[key] += section.counts[key];
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const before = signal.aborted ? "Stopped. " : "";
  const verdict = wrong.length
    ? "Something differs"
    : signal.aborted
      ? "Until then nothing differed"
      : "Nothing differs";
  say(wrong.length ? "wrong" : "right", `${before}${verdict} in ${name}. ${sentenceOf(total)} ${seconds} seconds.`);
  if (wrong.length) {
    const links = wrong.map(section => make("li", {}, make("a", { href: `#${section.id}` }, section.title)));
    element("verdict").append(make("ul", {}, ...links));
  }
}

function say(kind, text) {
  element("verdict").className = kind;
  element("verdict").replaceChildren(make("p", {}, visible(text)));
}

/** Add files to those that are there, and check again from the start. Another run takes the place of the first. */
async function take(picked) {
  const files = await withContents(picked);
  const kept = holdsRun(files) ? given.filter(file => !isInFormerRun(file)) : given;
  given = [...new Map([...kept, ...files].map(file => [file.path, file])).values()];
  checking?.abort();
  checking = new AbortController();
  const { signal } = checking;
  finished = finished.then(() => start(signal));
}

async function start(signal) {
  if (signal.aborted) return;
  element("progress").hidden = false;
  element("stop").disabled = false;
  document.body.dataset.state = "checking";
  try {
    await check(signal);
  } catch (error) {
    say("wrong", error.message);
  }
  showEnd();
}

function sayUnreadable(error) {
  say("wrong", `${error.file ?? "A file"} cannot be used: ${error.message}`);
  showEnd();
}

function showEnd() {
  element("progress").hidden = true;
  element("stop").disabled = true;
  checks += 1;
  document.body.dataset.checks = checks;
  document.body.dataset.state = "done";
}

function holdsRun(files) {
  try {
    return findRun(files) !== null;
  } catch {
    return true;
  }
}

function isInFormerRun(file) {
  try {
    const run = findRun(given);
    return run !== null && file.path.startsWith(run.root);
  } catch {
    return true;
  }
}

for (const id of ["folder", "files"]) {
  element(id).addEventListener("change", event => take(pickedFiles(event.target)).catch(sayUnreadable));
}
element("stop").addEventListener("click", () => checking?.abort());
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, event => {
    event.preventDefault();
    element("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") droppedFiles(event.dataTransfer).then(take).catch(sayUnreadable);
  });
}
document.body.dataset.state = "ready";
