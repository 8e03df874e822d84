// The step of a check that compares the split with itself and with the one that the seed draws.

/** Return the images of each part by TRAINING/VALIDATION/TEST, as counts or as shares of all images. */
function partSizes(text, images) {
  const fault = new Fault(CONFIG, `split is ${describe(text)}; it must be three counts or shares of ${images} images`);
  const numbers = `${text}`.split("/").map(each => (/^\s*[+]?[\d.]+(e[+-]?\d+)?\s*$/i.test(each) ? Number(each) : NaN));
  if (numbers.length !== 3 || !numbers.every(each => each > 0)) throw fault;
  const isShare = numbers.every(each => each < 1);
  if (isShare ? Math.abs(total(numbers) - 1) > 1e-9 : total(numbers) !== images) throw fault;
  if (!isShare) return numbers;
  // To even, as Python rounds.
  const round = value => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
  const [validation, test] = numbers.slice(1).map(each => round(each * images));
  return [images - validation - test, validation, test];
}

/** Divide `size` in proportion to counts, by the largest remainders. */
function apportion(counts, size, images) {
  const shares = counts.map(count => Math.floor((count * size) / images));
  const order = [...counts.keys()].sort(
    (one, other) => ((counts[other] * size) % images) - ((counts[one] * size) % images),
  );
  for (const label of order.slice(0, size - total(shares))) shares[label] += 1;
  return shares;
}

/** Return the part of each path, as `data.splits.stratified_split` draws it from the seed. */
async function drawSplit(entries, classes, sizes, seed, together) {
  const images = [...entries].sort((one, other) => byCodePoints(one.path, other.path));
  const counts = classes.map(label => images.filter(each => each.label === label).length);
  const [validation, test] = sizes.slice(1).map(size => apportion(counts, size, images.length));
  const room = [counts.map((count, label) => count - validation[label] - test[label]), validation, test];
  const contents = [...new Set(images.map(each => each.sha256))].sort();
  const places = new Map(contents.map((hash, place) => [hash, place]));
  const parents = [...contents.keys()];
  const root = place => (parents[place] === place ? place : (parents[place] = root(parents[place])));
  const hashes = new Map(images.map(each => [each.path, each.sha256]));
  for (const paths of together) {
    const known = paths.filter(path => hashes.has(path)).map(path => places.get(hashes.get(path)));
    for (const place of known) {
      const [one, other] = [root(known[0]), root(place)].sort((first, second) => first - second);
      parents[other] = one;
    }
  }
  const groups = new Map();
  for (const each of images) {
    const key = contents[root(places.get(each.sha256))];
    if (!groups.has(key)) groups.set(key, { key, members: [] });
    groups.get(key).members.push({ ...each, label: classes.indexOf(each.label) });
  }
  for (const group of groups.values()) {
    const random = await generatorFor(seed, "split", group.key);
    group.draws = [random(), random()];
  }
  const compareGroups = (one, other) =>
    (one.members.length === 1) - (other.members.length === 1) ||
    one.draws[0] - other.draws[0] ||
    one.draws[1] - other.draws[1] ||
    byCodePoints(one.key, other.key);
  const drawn = new Map();
  for (const { members, draws } of [...groups.values()].sort(compareGroups)) {
    const left = part =>
      Math.min(...members.map(({ label }) => room[part][label] - members.filter(each => each.label === label).length));
    const position = draws[1] * total(sizes);
    let part = position < sizes[0] ? 0 : position < sizes[0] + sizes[1] ? 1 : 2;
    if (members.length === 1 || left(part) < 0)
      part = [0, 1, 2].reduce((best, each) => (left(each) > left(best) ? each : best));
    if (left(part) < 0)
      throw new Fault("split.csv", `no part has room for the ${members.length} images with ${members[0].path}`);
    for (const { path, label } of members) {
      room[part][label] -= 1;
      drawn.set(path, PARTS[part]);
    }
  }
  return drawn;
}

async function checkSplit({ run }, section) {
  const file = "split.csv";
  const { entries, classes } = await run.split();
  const places = new Map();
  const hashes = new Map();
  for (const entry of entries) {
    if (places.has(entry.path)) section.different(file, entry.path, "", "", "its path is in two rows");
    places.set(entry.path, entry);
    const parts = entry.path.split("/");
    // The outermost folder or another one, by class_folders of config.json and the names of folders.
    if (!parts.slice(0, -1).includes(entry.label))
      section.different(file, `class of ${entry.path}`, entry.label, `${parts.at(-2)}`);
    const twin = hashes.get(entry.sha256);
    if (twin && twin.part !== entry.part) {
      section.different(
        file,
        entry.path,
        "",
        "",
        `this ${entry.part} image has the sha256 of the ${twin.part} image ${twin.path}`,
      );
    }
    if (!twin) hashes.set(entry.sha256, entry);
  }
  if (!section.differences)
    section.equal(file, "the parts have no image in common, and each class is a folder around its image", "", entries.length);
  const config = await run.config();
  const cell = text => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = entries.map(each => `${[each.path, each.label, each.sha256, each.part].map(cell)}\n`);
  if ((await run.once(file, readText)) !== `path,class,sha256,part\n${lines.join("")}`)
    section.different(file, "bytes", "", "", "it is not written as a run writes CSV, though it reads as if it were");
  const paths = entries.map(each => each.path);
  compare(section, file, "order of the rows", paths, [...paths].sort(byCodePoints));
  await part(section, CONFIG, "images of each part", async () => {
    const sizes = partSizes(config.split, entries.length);
    const counts = PARTS.map(name => entries.filter(entry => entry.part === name).length);
    compare(section, CONFIG, `images of each part, by the split ${config.split}`, counts.join("/"), sizes.join("/"));
    const together = config.group === "look-alikes" ? await run.json("groups.json") : [];
    const drawn = await drawSplit(entries, classes, sizes, config.seed, together);
    const wrong = entries.filter(each => drawn.get(each.path) !== each.part);
    for (const each of wrong.slice(0, 1))
      section.different(file, `part of ${each.path}, drawn from the seed`, each.part, drawn.get(each.path));
    if (wrong.length) return;
    section.equal(file, "parts of the images, drawn from the seed", "", entries.length);
    // Counts and shares may name the same split.
    run.prove(CONFIG, "seed");
  });
  if (config.data === null) {
    compare(section, file, "classes of drawn scenes", classes, FACTS.scene_classes);
    compare(section, CONFIG, "scenes of each class", config.scenes, entries.length / classes.length);
    run.prove(CONFIG, "scenes");
  }
  if (config.protocol.includes("shared-split")) {
    section.unchecked(
      CONFIG,
      "images that training has not seen",
      "by the deviation shared-split, training and validation read the test images",
    );
  }
}
