// The step of a check that draws the weights before training from the seed, as `models.building.initial_state` does.

/** Return a copy of a file of weights in which the tensors with `isDrawn(name)` are drawn from the seed. */
async function drawTensors(kernel, bytes, tensors, seed, isDrawn) {
  const { memory, allocate, free, draw } = (await WebAssembly.instantiate(kernel)).instance.exports;
  const drawn = bytes.slice();
  const put = array => {
    const at = allocate(array.byteLength) >>> 0;
    new Uint8Array(memory.buffer, at, array.byteLength).set(new Uint8Array(array.buffer));
    return at;
  };
  const ends = put(Float64Array.from(FACTS.ziggurat));
  for (const [name, { dtype, shape, start, end }] of tensors) {
    if (!isDrawn(name)) continue;
    const number = shape.reduce((product, length) => product * length, 1);
    const features = featuresOf(tensors, name);
    const place = drawn.subarray(start, end);
    if (shape.length === 4) {
      const { state, increment } = await pcg64(seed, "weights", name);
      const words = put(BigUint64Array.of(state, state >> 64n, increment, increment >> 64n));
      const result = allocate(4 * number) >>> 0;
      if (!result || draw(ends, words, number, Math.sqrt(2 / (shape[0] * shape[2] * shape[3])), result))
        throw new Obstacle(`the browser has no memory to draw ${name}`);
      place.set(new Uint8Array(memory.buffer, result, 4 * number));
      free(result, 4 * number);
      free(words, 32);
    } else if (features) {
      const random = await generatorFor(seed, "weights", name);
      const values = Float32Array.from({ length: number }, () => (random() * 2 - 1) * (1 / Math.sqrt(features)));
      place.set(new Uint8Array(values.buffer));
    } else if (dtype === "F32" && /(weight|running_var)$/.test(name))
      place.set(new Uint8Array(new Float32Array(number).fill(1).buffer));
    else place.fill(0);
  }
  return drawn;
}

/** Return how many features the linear layer of a tensor reads, and 0 for a tensor of another layer. */
function featuresOf(tensors, name) {
  const { shape } = tensors.get(name.replace(/bias$/, "weight")) ?? {};
  return shape?.length === 2 ? shape[1] : 0;
}

async function checkStart({ run, kernel }, section) {
  const file = "fingerprint.json";
  const config = await run.config();
  const { classes } = await run.split();
  const recorded = (await run.json(file)).initial_weights_sha256;
  const hashOf = async (name, isDrawn) => {
    const { tensors } = await readSafetensors(run.file(name));
    if (!withFile(name, () => networkOperations(config.model, tensors, classes.length))) return "";
    const bytes = await drawTensors(kernel, await run.file(name).read(), tensors, config.seed, each =>
      isDrawn(tensors, each),
    );
    return tensorsSha256(bytes, tensors);
  };
  const drawn = recorded && (await hashOf(ofSetting(config.settings[0], "best.safetensors"), () => true));
  if (!drawn) {
    const reason = recorded ? `this page does not know the network ${config.model}` : "an older run does not record it";
    section.unchecked(file, "initial_weights_sha256", reason);
    return;
  }
  if (config.weights === "none") {
    compare(section, file, "initial_weights_sha256, of the weights that the seed draws", recorded, drawn);
    run.prove(file, "initial_weights_sha256");
    run.prove(CONFIG, "weights");
  } else if (recorded === drawn) {
    const words = `they are those that the seed draws, not ${config.weights} weights`;
    section.different(CONFIG, "weights before training", "", "", words);
  }
  const isHeadDrawn = config.weights === "none" || (config.weights === "imagenet" && classes.length < FACTS.imagenet_classes);
  for (const setting of config.settings.filter(each => (each.train ?? config.train) === "head")) {
    const name = ofSetting(setting, "best.safetensors");
    await part(section, name, "tensors before the head", async () => {
      const before = await hashOf(name, featuresOf);
      const what = "sha256 of its tensors with the head that the seed draws, before training";
      if (before === recorded || isHeadDrawn) compare(section, name, what, recorded, before);
      else section.unchecked(name, "what precedes its head", "its head before training may be one that was read");
    });
  }
}
