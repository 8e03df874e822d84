// Steps of a check that need only records: files, split, histories, hash chains.

/** The names that a run of this configuration writes. */
function expectedNames(config) {
  const names = [CONFIG, "fingerprint.json", "split.csv", "scores.npz", "metrics.json"];
  if (config.group === "look-alikes") names.push("groups.json");
  if (config.format >= 6) names.push("pixels.json");
  const ofEach = ["history.json", "tensors.json", "best.safetensors"];
  if (config.protocol.includes("warm-start")) ofEach.push("last.safetensors");
  return [...names, ...config.settings.flatMap(setting => ofEach.map(name => ofSetting(setting, name)))];
}

async function checkFiles({ run, progress, signal }, section) {
  const manifest = await run.json("manifest.json");
  if (typeof manifest !== "object" || manifest === null || Array.isArray(manifest)) {
    throw new Fault("manifest.json", "it is not an object of names and hashes");
  }
  const listed = Object.keys(manifest);
  let done = 0;
  for (const name of listed) {
    signal.throwIfAborted();
    progress(done, listed.length, `hashing ${name}`);
    await part(section, name, "sha256", async () =>
      compare(section, name, "sha256", manifest[name], await sha256(await run.file(name).read())),
    );
    done += 1;
  }
  const known = new Set([...listed, "manifest.json"]);
  await part(section, CONFIG, "names of the files", async () => {
    const expected = expectedNames(await run.config());
    for (const name of expected) {
      if (!known.has(name))
        section.different("manifest.json", name, "", "", `it has no line for ${name}, which a run writes`);
    }
    for (const name of listed) {
      if (!expected.includes(name) && name !== "features.json") {
        section.different(
          "manifest.json",
          name,
          "",
          "",
          `it lists ${name}, which a run of this configuration does not write`,
        );
      }
    }
  });
  for (const name of run.files.keys()) {
    if (known.has(name)) continue;
    const what = OF_TRAINING.test(name) ? "a file of a training, in no manifest" : "the manifest does not list it";
    section.unchecked(name, "the file", what);
  }
  const { "features.json": _, ...rest } = manifest;
  const sorted = Object.fromEntries(
    Object.keys(rest)
      .sort(byCodePoints)
      .map(name => [name, rest[name]]),
  );
  // Python escapes what is not ASCII.
  const escape = letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  const text = JSON.stringify(sorted, null, 1).replace(/[\u007f-\uffff]/g, escape);
  const digest = await sha256(new TextEncoder().encode(`${text}\n`));
  section.note(
    `sha256 of the manifest without its feature maps: ${digest}. verify and the report print it too. Compare it with ` +
      "one that you have from elsewhere: whoever changes a file can rewrite the manifest.",
  );
}

async function checkSplit({ run }, section) {
  const file = "split.csv";
  const { entries, classes } = await run.split();
  const places = new Map();
  const hashes = new Map();
  for (const entry of entries) {
    if (places.has(entry.path)) section.different(file, entry.path, "", "", "its path stands in two rows");
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
  const counts = PARTS.map(name => entries.filter(entry => entry.part === name).length);
  if (/^\d+\/\d+\/\d+$/.test(config.split))
    compare(section, CONFIG, "images of each part", config.split, counts.join("/"));
  if (config.data === null)
    compare(section, CONFIG, "scenes of each class", config.scenes, entries.length / classes.length);
  if (config.protocol.includes("shared-split")) {
    section.unchecked(
      CONFIG,
      "images that training has not seen",
      "by the deviation shared-split, training and validation read the test images",
    );
  }
}

const bestRow = (rows, by) => rows.reduce((best, row) => (row[by] > best[by] ? row : best));

/** The metric that selects epochs and settings. */
const selectedBy = config => config.select ?? "mean_class_accuracy";

async function checkRecords({ run }, section) {
  const config = await run.config();
  const by = selectedBy(config);
  const best = [];
  const { entries, classes } = await run.split();
  for (const setting of config.settings) {
    const file = ofSetting(setting, "history.json");
    await part(section, file, "rows", async () => {
      const rows = await run.json(file);
      const fitted = (setting.train ?? config.train) === "head";
      compare(section, file, "number of rows", rows.length, fitted ? 7 : config.epochs);
      rows.forEach((row, number) => {
        compare(section, file, `epoch of row ${number + 1}`, row.epoch, number + 1);
        for (const name of ["class_accuracy", "average_precision"]) {
          if (row[name].length !== classes.length)
            throw new Fault(file, `${name} of epoch ${row.epoch} has not a value for each class`);
          compare(
            section,
            file,
            `mean_${name} of epoch ${row.epoch}, from its classes`,
            row[`mean_${name}`],
            mean(row[name]),
          );
        }
        if ((row.test_loss !== undefined) !== config.protocol.includes("test-loss-each-epoch")) {
          section.different(
            file,
            `test_loss of epoch ${row.epoch}`,
            describe(row.test_loss),
            "",
            "it is of a run with the deviation test-loss-each-epoch, and of no other",
          );
        }
        if (typeof row[by] !== "number")
          throw new Fault(file, `epoch ${row.epoch} lacks ${by}, by which the run selects`);
      });
      best.push({ setting: setting.name, row: bestRow(rows, by) });
    });
  }
  await part(section, "metrics.json", "selection", async () => {
    const metrics = await run.json("metrics.json");
    if (best.length === config.settings.length) {
      const chosen = best.reduce((first, each) => (each.row[by] > first.row[by] ? each : first));
      compare(section, "metrics.json", `setting, the best by ${by} on validation`, metrics.setting, chosen.setting);
      for (const [key, value] of [
        ["epoch", chosen.row.epoch],
        ["validation_mean_class_accuracy", chosen.row.mean_class_accuracy],
        ["weights_sha256", chosen.row.weights_sha256],
      ]) {
        compare(section, "metrics.json", `${key}, from history.json`, metrics[key], value);
      }
    }
    compare(section, "metrics.json", "classes, from split.csv", metrics.classes, classes);
    for (const name of PARTS) {
      const supports = classes.map(label => entries.filter(each => each.part === name && each.label === label).length);
      const recorded = classes.map(label => metrics.supports[name][label]);
      compareEach(section, "metrics.json", `supports of ${name}, from split.csv:`, classes, recorded, supports);
    }
    if ((metrics.unseen !== undefined) !== config.protocol.includes("shared-split")) {
      section.different(
        "metrics.json",
        "unseen",
        describe(metrics.unseen),
        "",
        "it is of a run with the deviation shared-split, and of no other",
      );
    }
  });
  await part(section, "scores.npz", "images", async () => {
    const scores = await run.scores();
    const test = entries.filter(each => each.part === "test");
    compare(
      section,
      "scores.npz",
      "paths of the test images, from split.csv",
      scores.paths,
      test.map(each => each.path),
    );
    compare(
      section,
      "scores.npz",
      "labels of the test images, from split.csv",
      scores.labels,
      test.map(each => classes.indexOf(each.label)),
    );
    compare(section, "scores.npz", "classes of the scores", scores.rows[0].length, classes.length);
  });
}

/** What the hash chain of a setting starts from, as runs/chain.py hashes it. */
function chainStart(config, setting, splitSha256, initialWeights, numericClass) {
  const keys = ["model", "image_size", "batch_size", "epochs", "seed", "augmentation", "schedule", "warm_up"];
  const training = Object.fromEntries(keys.map(key => [key, config[key]]));
  training.seed = `${config.seed}`;
  const preprocessing = preprocessingOf(config);
  if (!same(preprocessing, preprocessingOf({ image_size: config.image_size }))) training.preprocessing = preprocessing;
  if (config.data !== null && config.orientation === "exif") training.orientation = "exif";
  const trained = setting.train ?? config.train;
  if (trained !== "all") training.train = trained;
  const { name: _, train: __, ...own } = setting;
  return {
    config: training,
    initial_weights_sha256: initialWeights,
    numeric_class: numericClass,
    setting: Object.fromEntries(Object.entries(own).filter(([, value]) => value !== null)),
    split_sha256: splitSha256,
    training_images: config.protocol.includes("shared-split") ? "test" : "training",
  };
}

async function checkChains({ run }, section) {
  const config = await run.config();
  const isCanonical = config.format >= 6;
  const fingerprint = await run.json("fingerprint.json");
  const splitSha256 = await sha256(await run.file("split.csv").read());
  let initial = fingerprint.initial_weights_sha256 ?? "";
  for (const setting of config.settings) {
    const file = ofSetting(setting, "tensors.json");
    await part(section, file, "entries", async () => {
      const entries = await run.json(file);
      const rows = await run.json(ofSetting(setting, "history.json"));
      compare(section, file, "number of entries, from history.json", entries.length, rows.length);
      let previous = null;
      if (isCanonical && Number.isSafeInteger(config.seed)) {
        previous = await sha256OfJson(chainStart(config, setting, splitSha256, initial, fingerprint.numeric_class));
      } else if (isCanonical) {
        section.unchecked(file, "start of the chain", "the seed is above 2^53, the largest that JavaScript reads");
      } else {
        section.unchecked(
          file,
          "links of the chain",
          `config.json is of format ${config.format}: its chain hashes numbers as Python writes them`,
        );
      }
      for (const [number, entry] of entries.entries()) {
        compare(
          section,
          file,
          `weights_sha256 of epoch ${number + 1}, from history.json`,
          entry.weights_sha256,
          rows[number]?.weights_sha256,
        );
        compare(section, file, `epoch of entry ${number + 1}`, entry.epoch, number + 1);
        compare(
          section,
          file,
          `names of the tensors of entry ${number + 1}`,
          Object.keys(entry.tensors).sort(),
          Object.keys(entries[0].tensors).sort(),
        );
        if (previous)
          compare(
            section,
            file,
            `link of epoch ${number + 1} to ${number ? "the entry before" : "the start"}`,
            entry.previous,
            previous,
          );
        if (isCanonical) previous = await sha256OfJson(entry);
      }
      if (config.protocol.includes("warm-start") && entries.length) initial = entries.at(-1).weights_sha256;
    });
  }
  section.unchecked(
    "fingerprint.json",
    "initial_weights_sha256",
    "weights before training are drawn from the seed or read from a file; verify does that",
  );
}
