// Comparison of recorded values with computed ones, and parts of a step that fail one by one.

const describe = value => {
  if (value === undefined) return "absent";
  return typeof value === "string" ? value : Object.is(value, -0) ? "-0" : canonical(value);
};
const same = (one, other) => {
  if (typeof one === "number" || typeof other === "number") return Object.is(one, other);
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((each, place) => same(each, other[place]));
  }
  return one !== undefined && other !== undefined && canonical(one) === canonical(other);
};
const ofSetting = (setting, name) => `${setting.name}/${name}`;

/** Compare one recorded value with the one that follows from other files. */
function compare(section, file, what, recorded, computed) {
  if (same(recorded, computed)) section.equal(file, what, describe(recorded));
  else section.different(file, what, describe(recorded), describe(computed));
}

/** Compare the entries of a list one by one, so that each number has a line. */
function compareEach(section, file, what, names, recorded, computed) {
  if (!Array.isArray(recorded) || recorded.length !== computed.length) compare(section, file, what, recorded, computed);
  else computed.forEach((value, place) => compare(section, file, `${what} of ${names[place]}`, recorded[place], value));
}

/** Run a part of a step; a Fault in it becomes a difference, and the parts after it are still run. */
async function part(section, file, what, compute) {
  try {
    await compute();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error instanceof Obstacle) {
      section.unchecked(file, what, error.message);
      return;
    }
    const known = error instanceof Fault;
    section.different(
      (known && error.file) || file,
      what,
      "",
      "",
      known ? error.message : `it is not what a run writes (${error.message})`,
    );
  }
}
