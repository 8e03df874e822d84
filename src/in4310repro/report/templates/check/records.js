// Steps of a check that need only records: files, their form, histories, hash chains.

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
  run.prove("manifest.json");
  if (listed.join("\n") !== [...listed].sort(byCodePoints).join("\n"))
    section.different("manifest.json", "order", "", "", "its lines are not sorted by name, as a run writes them");
  for (const name of run.files.keys()) {
    if (known.has(name)) continue;
    const what = OF_TRAINING.test(name) ? "a file of a training, in no manifest" : "the manifest does not list it";
    if (isOfRun(name)) section.different(name, "the file", "", "", what);
    else section.unchecked(name, "the file", what);
  }
  const { "features.json": _, ...rest } = manifest;
  const sorted = Object.fromEntries(
    Object.keys(rest)
      .sort(byCodePoints)
      .map(name => [name, rest[name]]),
  );
  const lines = Object.entries(sorted).map(([name, hash]) => ` ${quoted(name)}: ${quoted(hash)}`);
  const digest = await sha256(bytesOf(`{\n${lines.join(",\n")}\n}\n`));
  section.note(
    `sha256 of the manifest without its feature maps: ${digest}. verify and the report print it too. Compare it with ` +
      "one that you have from elsewhere: whoever changes a file can rewrite the manifest.",
  );
}

/** Hold each JSON file to the schema that the package generates from its own types, and to the bytes of a run. */
async function checkForms({ run, signal }, section) {
  for (const name of run.files.keys()) {
    signal.throwIfAborted();
    if (!name.endsWith(".json") || !(isOfRun(name) || name === "manifest.json")) continue;
    await part(section, name, "form", async () => {
      const { text, node, faults, leaves } = await run.form(name);
      for (const fault of faults) section.different(name, "keys, types and ranges", "", "", fault);
      if (text !== `${written(node)}\n`)
        section.different(
          name,
          "bytes",
          "",
          "",
          "it is not written as a run writes JSON, though it reads as if it were",
        );
      else if (!faults.length) section.equal(name, "keys, types, ranges and bytes", "", leaves.length);
    });
  }
}

/** Whether a row is better than another by a metric on validation. */
const isBetter = (row, other, by) =>
  FACTS.metrics.find(each => each.name === by)?.lower ? row[by] < other[by] : row[by] > other[by];
const bestRow = (rows, by) => rows.reduce((best, row) => (isBetter(row, best, by) ? row : best));

/** Compare the values of a row that others of it determine, by the images of each class on which they were measured. */
function checkRow(section, file, row, images) {
  const of = `of epoch ${row.epoch}`;
  for (const { name, measure, reads, per_class: perClass } of FACTS.metrics) {
    if (row[name] === undefined) continue;
    if (perClass && row[name].length !== images.length)
      throw new Fault(file, `${name} ${of} does not have a value for each class`);
    if (row[reads] && FUNCTIONS[measure])
      compare(section, file, `${name} ${of}, from its classes`, row[name], FUNCTIONS[measure](row[reads]));
  }
  const right = row.class_accuracy.map((share, label) => Math.round(share * images[label]));
  const shares = FUNCTIONS.recall({ right, images });
  compare(section, file, `class_accuracy ${of}, as shares of ${total(images)} images`, row.class_accuracy, shares);
  if (row.accuracy !== undefined)
    compare(section, file, `accuracy ${of}, from its classes`, row.accuracy, FUNCTIONS.accuracy({ right, images }));
}

/** The metric that selects epochs and settings. */
const selectedBy = config => config.select ?? "mean_class_accuracy";

async function checkRecords({ run }, section) {
  const config = await run.config();
  const by = selectedBy(config);
  const best = [];
  const { entries, classes } = await run.split();
  const read = config.protocol.includes("shared-split") ? "test" : "validation";
  for (const setting of config.settings) {
    const file = ofSetting(setting, "history.json");
    await part(section, file, "rows", async () => {
      const rows = await run.json(file);
      const supports = classes.map(label => entries.filter(each => each.part === read && each.label === label).length);
      const fitted = (setting.train ?? config.train) === "head";
      compare(section, file, "number of rows", rows.length, fitted ? 7 : config.epochs);
      rows.forEach((row, number) => {
        compare(section, file, `epoch of row ${number + 1}`, row.epoch, number + 1);
        run.prove(file, number, "epoch");
        if (fitted || row.strength !== undefined)
          compare(
            section,
            file,
            `strength of epoch ${row.epoch}`,
            row.strength,
            fitted ? FACTS.strengths[number] : undefined,
          );
        if (fitted) run.prove(file, number, "strength");
        checkRow(section, file, row, supports);
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
      const chosen = best.reduce((first, each) => (isBetter(each.row, first.row, by) ? each : first));
      compare(section, "metrics.json", `setting, the best by ${by} on validation`, metrics.setting, chosen.setting);
      for (const [key, value] of [
        ["epoch", chosen.row.epoch],
        ["validation_mean_class_accuracy", chosen.row.mean_class_accuracy],
        ["weights_sha256", chosen.row.weights_sha256],
      ]) {
        compare(section, "metrics.json", `${key}, from history.json`, metrics[key], value);
        run.prove("metrics.json", key);
      }
    }
    compare(section, "metrics.json", "classes, from split.csv", metrics.classes, classes);
    compare(section, "metrics.json", "parts of supports", Object.keys(metrics.supports), PARTS);
    for (const name of ["setting", "classes", "supports"]) run.prove("metrics.json", name);
    for (const name of PARTS) {
      compare(section, "metrics.json", `classes of supports of ${name}`, Object.keys(metrics.supports[name]), classes);
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

/** Check what other records say of the images that a run read, of its arithmetic and of its feature maps. */
async function checkImagesRead({ run }, section) {
  const config = await run.config();
  const fingerprint = await run.json("fingerprint.json");
  if (config.numerics !== "auto")
    compare(section, CONFIG, "numerics, from fingerprint.json", config.numerics, fingerprint.numerics);
  await part(section, "pixels.json", "images", async () => {
    if (!run.has("pixels.json")) return;
    const pixels = await run.json("pixels.json");
    const { entries } = await run.split();
    const isShared = config.protocol.includes("shared-split");
    const paths = name => entries.filter(each => each.part === (isShared ? "test" : name)).map(each => each.path);
    const needed = new Set(PARTS.flatMap(paths));
    for (const path of Object.keys(pixels)) {
      if (!needed.has(path))
        section.different("pixels.json", path, "", "", "it is not an image that a run of this configuration reads");
    }
    for (const name of PARTS) {
      const lost = paths(name).find(path => !Object.hasOwn(pixels, path));
      if (lost) throw new Fault("pixels.json", `it lacks ${lost}`);
      const digest = await sha256(
        bytesOfHex(
          paths(name)
            .map(path => pixels[path])
            .join(""),
        ),
      );
      compare(
        section,
        "fingerprint.json",
        `pixels_sha256 of ${name}, from pixels.json`,
        fingerprint.pixels_sha256?.[name],
        digest,
      );
    }
  });
  await part(section, "features.json", "records", async () => {
    if (!run.has("features.json")) return;
    const features = await run.json("features.json");
    const has = name => config.protocol.includes(name);
    const origin = `as trained here by setting ${(await run.json("metrics.json")).setting}`;
    const fits =
      config.weights === "none"
        ? features.network === `${config.model} ${origin}`
        : features.network.endsWith(" weights, not fine-tuned");
    compare(section, "features.json", `network ${features.network} is of weights ${config.weights}`, fits, true);
    compare(
      section,
      "features.json",
      "spectra_mode, by the protocol",
      features.spectra_mode,
      has("batch-norm-in-train-mode") ? "train" : "eval",
    );
    for (const [number, { images, modules, pooled_images: pooled = null }] of features.sets.entries()) {
      const place = `sets.${number}`;
      const before = total(features.sets.slice(0, number).map(each => each.images));
      const needed = number && has("accumulator-not-reset") ? before + images : null;
      compare(section, "features.json", `pooled_images of ${place}, by the protocol`, pooled, needed);
      compare(section, "features.json", `modules of ${place}`, Object.keys(modules), config.modules);
      const padding = has("padded-denominator") ? (Math.ceil(images / 16) * 16) / images : 1;
      for (const [name, { channels, non_finite: lost, non_positive: share, activations }] of Object.entries(modules)) {
        if (!activations) continue;
        const { quantiles, powers_of_two: powers, never_positive: never, top_images: top } = activations;
        compare(section, "features.json", `quantiles of ${place}.${name}`, Object.keys(quantiles), FACTS.quantiles);
        compare(
          section,
          "features.json",
          `channels of ${place}.${name} are below ${channels}`,
          [...never, ...top.map(each => each.channel)].every(each => each < channels),
          true,
        );
        const below = total(Object.entries(powers).map(([power, count]) => (/^(-2|0)/.test(power) ? count : 0)));
        const rest = Math.abs(share - below / total(Object.values(powers)) / padding);
        if (!lost && !(rest < 1e-9))
          section.different(
            "features.json",
            `non_positive of ${place}.${name}, from powers_of_two`,
            describe(share),
            describe(share - rest),
          );
      }
    }
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
      if (isCanonical) {
        previous = await sha256OfJson(chainStart(config, setting, splitSha256, initial, fingerprint.numeric_class));
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
        run.prove(file, number, "epoch");
        compare(
          section,
          file,
          `names of the tensors of entry ${number + 1}`,
          Object.keys(entry.tensors).sort(),
          Object.keys(entries[0].tensors).sort(),
        );
        if (previous) run.prove(file, number, "previous");
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
}
