// Steps of a check that compute results: metrics from scores, hashes of weights, and scores from images.

async function checkMetrics({ run }, section) {
  const config = await run.config();
  const metrics = await run.json("metrics.json");
  const { labels, rows } = await run.scores();
  const { classes } = await run.split();
  rows.forEach((row, image) => {
    if (!row.every(Number.isFinite)) throw new Fault("scores.npz", `image ${image} has a score that is not finite`);
    if (!(labels[image] >= 0 && labels[image] < row.length))
      throw new Fault("scores.npz", `image ${image} has the label ${labels[image]}`);
  });
  const byLogits = config.protocol.includes("ap-from-logits");
  compareMetrics(
    run,
    section,
    metrics,
    classes,
    computeMetrics(labels, rows, rows),
    name => !(byLogits && RANKING.includes(name)),
  );
  if (byLogits)
    section.unchecked(
      "metrics.json",
      RANKING.join(", "),
      "by the deviation ap-from-logits they rank logits, which scores.npz does not hold; see the predictions below",
    );
}

/** Compare recorded metrics with computed ones, one line a number. */
function compareMetrics(run, section, metrics, classes, computed, wanted) {
  for (const { name, in_every_run: isOld } of FACTS.metrics) {
    const value = computed[name];
    if (!wanted(name) || (!isOld && metrics[name] === undefined)) continue;
    if (value === undefined) section.unchecked("metrics.json", name, "this page does not compute it");
    else if (Array.isArray(value)) compareEach(section, "metrics.json", name, classes, metrics[name], value);
    else compare(section, "metrics.json", name, metrics[name], value);
    if (value !== undefined) run.prove("metrics.json", name);
  }
}

/** Check what a file of weights says beside its tensors: how images are prepared for them. */
function checkHeader(section, name, config, metadata, isShortest) {
  const { size, ...without } = preprocessingOf(config);
  const valid = [{ ...without, size }, without].map(each => canonical({ preprocessing: each }));
  let said;
  try {
    said = canonical(Object.fromEntries(Object.entries(metadata).map(([key, text]) => [key, JSON.parse(text)])));
  } catch {
    said = canonical(metadata);
  }
  const mayLack = config.format < 4 && said === "{}";
  if (!mayLack && !valid.includes(said)) section.different(name, "metadata, from config.json", said, valid[0]);
  else if (!isShortest) section.different(name, "header", "", "", "it holds more than a run writes for its tensors");
  else section.equal(name, "metadata, from config.json", said);
}

async function checkWeights({ run, progress, signal }, section) {
  const config = await run.config();
  const by = selectedBy(config);
  for (const [number, setting] of config.settings.entries()) {
    signal.throwIfAborted();
    const name = ofSetting(setting, "best.safetensors");
    progress(number, config.settings.length, `hashing the tensors of ${name}`);
    await part(section, name, "tensors", async () => {
      const { metadata, tensors, isShortest } = await readSafetensors(run.file(name));
      checkHeader(section, name, config, metadata, isShortest);
      const hashes = await tensorHashes(await run.file(name).read(), tensors);
      const rows = await run.json(ofSetting(setting, "history.json"));
      const best = bestRow(rows, by);
      const epoch = `epoch ${best.epoch}`;
      compare(section, name, `sha256 of its tensors, in history.json for ${epoch}`, best.weights_sha256, hashes.all);
      run.prove(ofSetting(setting, "history.json"), rows.indexOf(best), "weights_sha256");
      for (const key of ["weights_sha256", "tensors"])
        run.prove(ofSetting(setting, "tensors.json"), rows.indexOf(best), key);
      const entry = (await run.json(ofSetting(setting, "tensors.json")))[rows.indexOf(best)];
      const wrong = [...new Set([...Object.keys(entry.tensors), ...Object.keys(hashes.each)])].filter(
        each => entry.tensors[each] !== hashes.each[each],
      );
      for (const each of wrong) {
        section.different(
          ofSetting(setting, "tensors.json"),
          `sha256 of ${each} of ${epoch}, from ${name}`,
          describe(entry.tensors[each]),
          describe(hashes.each[each]),
        );
      }
      if (!wrong.length)
        section.equal(
          ofSetting(setting, "tensors.json"),
          `sha256 of each tensor of ${epoch}, from ${name}`,
          "",
          tensors.size,
        );
      const metrics = await run.json("metrics.json");
      if (metrics.setting !== setting.name) return;
      compare(section, "metrics.json", `weights_sha256, of the tensors of ${name}`, metrics.weights_sha256, hashes.all);
      run.prove("metrics.json", "weights_sha256");
    });
    const last = ofSetting(setting, "last.safetensors");
    if (!run.has(last)) continue;
    await part(section, last, "tensors", async () => {
      const { metadata, tensors, isShortest } = await readSafetensors(run.file(last));
      checkHeader(section, last, config, metadata, isShortest);
      const { weights_sha256: hash } = (await run.json(ofSetting(setting, "tensors.json"))).at(-1);
      const computed = await tensorsSha256(await run.file(last).read(), tensors);
      compare(section, last, "sha256 of its tensors, in tensors.json for the last epoch", hash, computed);
    });
  }
}

/** Check the bytes and pixels of each test image, and keep what can be predicted in `state.decoded`, by path. */
async function checkImages(state, section) {
  const { run, images, progress, signal } = state;
  const config = await run.config();
  const { entries } = await run.split();
  const test = entries.filter(each => each.part === "test");
  const recorded = run.has("pixels.json") ? await run.json("pixels.json") : null;
  state.decoded = new Map();
  state.reasons = new Map();
  state.withoutFile = [];
  const digests = [];
  let fromPixels = 0;
  for (const [number, entry] of test.entries()) {
    signal.throwIfAborted();
    progress(number, test.length, `reading ${entry.path}`);
    const decode = await openImage(state, section, config, entry);
    if (!decode) continue;
    const { pixels, isFromFile } = await decode();
    fromPixels += isFromFile;
    const digest = await sha256(pixels);
    digests.push(digest);
    if (recorded)
      compare(section, "pixels.json", `sha256 of the decoded pixels of ${entry.path}`, recorded[entry.path], digest);
    run.prove("pixels.json", entry.path);
    state.decoded.set(entry.path, decode);
  }
  if (!recorded)
    section.unchecked(
      "pixels.json",
      "decoded pixels of each image",
      `a run of format ${config.format} has no such file`,
    );
  const all = (await run.json("fingerprint.json")).pixels_sha256?.test;
  if (all && digests.length === test.length) {
    const digest = await sha256(bytesOfHex(digests.join("")));
    compare(section, "fingerprint.json", "sha256 of the decoded pixels of all test images", all, digest);
    run.prove("fingerprint.json", "pixels_sha256", "test");
    run.prove(CONFIG, "image_size");
  }
  if (fromPixels) {
    section.note(
      `The pixels of ${fromPixels} images come from check-pixels.safetensors. That they are what ` +
        "these image files show is not checked here: in4310repro verify decodes the files again.",
    );
  }
  const absent = state.withoutFile.length;
  if (absent) section.unchecked("test images", `sha256 of ${absent} files`, "the files were not given", absent);
  const byReason = new Map();
  for (const [path, reason] of state.reasons) byReason.set(reason, [...(byReason.get(reason) ?? []), path]);
  for (const [reason, paths] of byReason) {
    const what = paths.length === 1 ? paths[0] : `${paths.length} of ${test.length} images`;
    section.unchecked("test images", what, reason, paths.length);
  }
}

/** Return a function that decodes an image, or null where that is impossible; then `state.reasons` says why. */
async function openImage({ images, reasons, withoutFile }, section, config, entry) {
  const candidates = images.candidates(entry.path);
  const saved = images.pixels.get(entry.path);
  let reason =
    "their files were not given: drop check-images.zip, which report writes beside this page for drawn scenes, " +
    "or the folder of the photographs";
  for (const [number, file] of candidates.entries()) {
    const bytes = await file.read();
    const digest = await sha256(bytes);
    if (digest !== entry.sha256) {
      // If several files have this path, one with the recorded bytes is enough.
      if (number + 1 < candidates.length) continue;
      section.different(entry.path, "sha256, from split.csv", entry.sha256, digest);
      reasons.set(entry.path, "their bytes are not those of split.csv");
      return null;
    }
    section.equal(entry.path, "sha256, from split.csv", digest);
    const decoded = decodeBmp(bytes);
    if (typeof decoded === "string")
      reason = `${decoded}; report --pixels writes check-pixels.safetensors, which this page reads`;
    else if (
      decoded.height !== config.image_size ||
      decoded.width !== config.image_size ||
      preprocessingOf(config).crop_ratio !== 1
    ) {
      reason =
        `this page does not resize pictures, and they are not squares of ${config.image_size} pixels; ` +
        "report --pixels writes their pixels";
    } else return async () => ({ ...decodeBmp(await file.read()), isFromFile: false });
    break;
  }
  if (saved?.side === config.image_size && !candidates.length) withoutFile.push(entry.path);
  if (saved?.side === config.image_size) return async () => ({ ...(await saved.read()), isFromFile: true });
  reasons.set(entry.path, reason);
  return null;
}

/** Check the numeric class, and return why scores need not be equal to the bit; empty where they must be. */
async function describeOtherArithmetic(run, section) {
  const { numerics, numeric_class: own, probe, threads = 0, device_name: device } = await run.json("fingerprint.json");
  const inside = Object.entries(probe).map(([name, hash]) => `${quoted(name)}: ${quoted(hash)}`);
  const classOf = async text => (await sha256(bytesOf(text))).slice(0, 12);
  const portable = version => classOf(`[${version}, {${inside.join(", ")}}]`);
  const isNative = numerics !== "portable";
  const versions = Array.from({ length: FACTS.version }, (_, number) => number + 1);
  const valid = isNative
    ? [await classOf(`[{${inside.join(", ")}}, ${threads}, ${quoted(device)}]`)]
    : [...(await Promise.all(versions.map(portable)))];
  const what = isNative ? "of its probe, threads and device" : `of its probe, in a version up to ${FACTS.version}`;
  compare(section, "fingerprint.json", `numeric_class ${what}`, own, valid.includes(own) ? own : valid.at(-1));
  for (const name of ["numeric_class", "probe"]) run.prove("fingerprint.json", name);
  if (isNative)
    return `fingerprint.json says ${numerics} arithmetic, which repeats its bits only on the same kind of machine`;
  if (own === FACTS.numeric_class) return "";
  return `fingerprint.json names numeric class ${own}, and this page computes ${FACTS.numeric_class}`;
}

/** Return the lowest and highest score of each image and class in another arithmetic, as `verification.scores` does. */
function scoreRanges(results) {
  const { score, logit, rounding, least } = FACTS.tolerances;
  const sizes = results.map(({ logits }) => {
    const middle = total(logits) / logits.length;
    return Math.max(...logits.map(each => Math.abs(each - middle)));
  });
  const [lower, upper] = [1, 0].map(odd => [...sizes].sort((one, other) => one - other)[(sizes.length - odd) >> 1]);
  return results.map(({ softmax, logits }, image) => {
    const slack = 2 * logit * Math.max(sizes[image], (lower + upper) / 2);
    const ends = Array.from(softmax, (exact, label) => {
      const others = logits.filter((_, place) => place !== label);
      const most = Math.max(...others);
      const odds = logits[label] - most - Math.log(total(others.map(each => Math.exp(each - most))));
      const [low, high] = [-slack, slack].map(
        shift => 1 / (1 + Math.exp(-Math.min(700, Math.max(-700, odds + shift)))),
      );
      return [
        Math.max(Math.min(low, exact) * (1 - rounding) - least, exact - score),
        Math.min(Math.max(high, exact) * (1 + rounding) + least, exact + score),
      ];
    });
    return { low: ends.map(each => each[0]), high: ends.map(each => each[1]) };
  });
}

/** Name each class whose average precision such scores leave open. */
function nameOpenPrecisions(section, labels, classes, ranges) {
  for (const [label, name] of classes.entries()) {
    const relevant = labels.map(each => Number(each === label));
    const [worst, best] = [false, true].map(isBest =>
      averagePrecision(
        relevant,
        ranges.map(({ low, high }, image) => (Boolean(relevant[image]) === isBest ? high : low)[label]),
      ),
    );
    if (best - worst > FACTS.tolerances.open) {
      const open = `scores this close leave ${worst.toFixed(4)} to ${best.toFixed(4)} open`;
      section.unchecked("metrics.json", `average_precision of ${name}`, open);
    }
  }
}

async function predictAgain(state, section) {
  const { run, progress, signal } = state;
  const config = await run.config();
  const metrics = await run.json("metrics.json");
  const scores = await run.scores();
  const { entries, classes } = await run.split();
  const name = `${metrics.setting}/best.safetensors`;
  const { tensors } = await readSafetensors(run.file(name));
  const operations = withFile(name, () => networkOperations(config.model, tensors, classes.length));
  if (!operations) {
    section.unchecked(
      "scores.npz",
      "scores and loss",
      `this page knows the networks ${Object.keys(NETWORKS).join(", ")}; this is ${config.model}`,
    );
    return;
  }
  const places = scores.paths.map((path, place) => ({ path, place })).filter(({ path }) => state.decoded?.has(path));
  const results = new Array(scores.paths.length);
  if (places.length) {
    const network = {
      kernel: state.kernel,
      weights: await run.file(name).read(),
      tensors,
      operations,
      preprocessing: preprocessingOf(config),
      classes: classes.length,
    };
    const hashes = new Map(entries.map(each => [each.path, each.sha256]));
    const isFlipped = config.protocol.includes("random-flip-at-test");
    const images = places.map(({ path, place }) => async () => {
      const { height, width, pixels } = await state.decoded.get(path)();
      if (isFlipped && (await generatorFor(config.seed, "evaluation", 0, hashes.get(path)))() < 0.5)
        flip(pixels, width);
      return { height, width, pixels, label: scores.labels[place] };
    });
    let done = 0;
    progress(0, places.length, "predicting the test images");
    await predictImages(
      network,
      images,
      result => {
        results[places[result.place].place] = result;
        done += 1;
        progress(done, places.length, `predicted ${done} of ${places.length} images`);
      },
      signal,
    );
  }
  const other = await describeOtherArithmetic(run, section);
  const { score, logit, loss: slack } = FACTS.tolerances;
  if (other)
    section.note(
      `${other}. So scores are compared within ${score} and ${logit} of their logits, and by the predicted class, ` +
        `and the loss within ${slack}.`,
    );
  const ranges = other ? scoreRanges(results.filter(Boolean)) : [];
  scores.paths.forEach((path, place) => {
    const range = other && results[place] ? ranges[results.filter(Boolean).indexOf(results[place])] : null;
    compareScores(section, path, scores.rows[place], results[place]?.softmax, range);
  });
  const missing = scores.paths.length - places.length;
  if (missing) {
    section.unchecked(
      "scores.npz",
      `scores of ${missing} images`,
      "they could not be predicted; see the test images",
      missing * classes.length,
    );
    section.unchecked("metrics.json", "loss", "it is the mean over all test images");
    return;
  }
  const loss = exactSum(results.map(each => each.loss)) / results.length;
  for (const key of ["model", "mean", "std"]) run.prove(CONFIG, key);
  run.prove("metrics.json", "loss");
  if (other) nameOpenPrecisions(section, scores.labels, classes, ranges);
  if (other && Math.abs(loss - metrics.loss) <= slack * Math.max(1, Math.abs(loss))) {
    section.close("metrics.json", "loss", describe(metrics.loss), describe(loss));
  } else compare(section, "metrics.json", "loss", metrics.loss, loss);
  if (config.protocol.includes("ap-from-logits")) {
    if (other)
      section.unchecked("metrics.json", RANKING.join(", "), "they rank logits, of which the run's own bits are needed");
    else
      compareMetrics(
        run,
        section,
        metrics,
        classes,
        computeMetrics(
          scores.labels,
          scores.rows,
          results.map(each => each.logits),
        ),
        key => RANKING.includes(key),
      );
  }
}

function withFile(file, compute) {
  try {
    return compute();
  } catch (error) {
    throw error instanceof Fault ? new Fault(error.file || file, error.message) : error;
  }
}

/** Turn an image around, left to right. */
function flip(pixels, width) {
  const original = pixels.slice();
  for (let at = 0; at < pixels.length; at += 1) {
    const [column, place] = [Math.floor(at / 3) % width, at - (at % (3 * width))];
    pixels[at] = original[place + 3 * (width - 1 - column) + (at % 3)];
  }
}

/** Compare the scores of one image, by the bits of float32 or within the range of another arithmetic. */
function compareScores(section, path, recorded, computed, range) {
  if (!computed) return;
  const bits = values => new Uint32Array(Float32Array.from(values).buffer);
  const shown = values => Array.from(values, value => String(Number(value.toPrecision(9)))).join(", ");
  const [saved, now] = [bits(recorded), bits(computed)];
  if (saved.length === now.length && saved.every((value, place) => value === now[place])) {
    section.equal("scores.npz", path, shown(recorded), recorded.length);
  } else if (
    range &&
    recorded.length === computed.length &&
    largest(recorded) === largest(computed) &&
    recorded.every((value, place) => value >= range.low[place] && value <= range.high[place])
  )
    section.close("scores.npz", path, shown(recorded), shown(computed), recorded.length);
  else section.different("scores.npz", path, shown(recorded), shown(computed));
}
