// A worker that predicts images one at a time: the operations of a network, computed by the WebAssembly kernel.

/** A network in the kernel's memory; maps are {at, height, width, channels}, float32 [height][width][channel]. */
class Predictor {
  constructor(kernel, { weights, tensors, operations, preprocessing, classes }) {
    this.kernel = kernel;
    this.operations = operations;
    this.classes = classes;
    // Weights of convolutions go into layers, which keep their own copy in the order of the kernel.
    this.convolutions = new Map();
    this.layers = new Map();
    this.tensors = new Map();
    const convolved = new Set(operations.map(operation => operation.weight));
    for (const [name, { dtype, start, end }] of tensors) {
      if (convolved.has(name)) this.convolutions.set(name, weights.slice(start, end));
      else if (dtype === "F32") this.tensors.set(name, this.put(weights.subarray(start, end)));
    }
    this.mean = this.put(new Uint8Array(Float32Array.from(preprocessing.mean).buffer));
    this.std = this.put(new Uint8Array(Float32Array.from(preprocessing.std).buffer));
  }

  allocate(bytes) {
    const at = this.kernel.allocate(bytes) >>> 0;
    if (!at) throw new Error(`the browser has no memory for ${bytes} more bytes`);
    return at;
  }

  put(bytes) {
    const at = this.allocate(bytes.length);
    // A new view each time: memory that has grown is another buffer.
    new Uint8Array(this.kernel.memory.buffer, at, bytes.length).set(bytes);
    return at;
  }

  makeMaps(height, width, channels) {
    return { at: this.allocate(4 * height * width * channels), height, width, channels };
  }

  release({ at, height, width, channels }) {
    this.kernel.free(at, 4 * height * width * channels);
  }

  /** Return the logits and softmax of an image, as Float32Arrays, and its loss. */
  predict({ height, width, pixels, label }) {
    const raw = this.put(pixels);
    const registers = { maps: this.makeMaps(height, width, 3), kept: null };
    this.kernel.prepare(raw, height, width, this.mean, this.std, registers.maps.at);
    this.kernel.free(raw, pixels.length);
    for (const operation of this.operations) this[operation.kind](operation, registers);
    const scores = registers.maps.at;
    const softmax = this.allocate(4 * this.classes);
    this.kernel.softmax(this.classes, scores, softmax);
    const loss = this.kernel.loss(this.classes, scores, label);
    const read = at => new Float32Array(this.kernel.memory.buffer, at, this.classes).slice();
    const predicted = { logits: read(scores), softmax: read(softmax), loss };
    this.kernel.free(softmax, 4 * this.classes);
    this.release(registers.maps);
    if (registers.kept) this.release(registers.kept);
    return predicted;
  }

  /** Put a result in the place of a register, whose maps are released unless the other register holds them too. */
  replace(registers, name, result) {
    const before = registers[name];
    registers[name] = result;
    if (before !== registers.maps && before !== registers.kept) this.release(before);
  }

  keep(operation, registers) {
    const before = registers.kept;
    registers.kept = registers.maps;
    if (before && before !== registers.maps) this.release(before);
  }

  convolution({ weight, outputs, kernel, stride, padding, groups, of }, registers) {
    const maps = registers[of];
    const ends = length => {
      if (padding !== "same") return [padding, padding];
      const total = Math.max((Math.ceil(length / stride) - 1) * stride + kernel - length, 0);
      return [Math.floor(total / 2), Math.ceil(total / 2)];
    };
    const [[top, bottom], [left, right]] = [ends(maps.height), ends(maps.width)];
    const size = length => Math.floor((length - kernel) / stride) + 1;
    const result = this.makeMaps(size(maps.height + top + bottom), size(maps.width + left + right), outputs);
    const sizes = [
      maps.height,
      maps.width,
      maps.channels,
      outputs,
      kernel,
      kernel,
      stride,
      stride,
      top,
      bottom,
      left,
      right,
      groups,
    ];
    this.kernel.apply(this.layer(weight, sizes), maps.at, 0, result.at);
    this.replace(registers, of, result);
  }

  /** Return a convolution for maps of these sizes, which is made once. */
  layer(weight, [height, width, channels, ...sizes]) {
    const key = `${weight} ${height} ${width}`;
    if (!this.layers.has(key)) {
      const bytes = this.convolutions.get(weight);
      const at = this.put(bytes);
      const layer = this.kernel.layer(height, width, channels, at, ...sizes);
      this.kernel.free(at, bytes.length);
      if (!layer) throw new Error(`the kernel refuses ${weight} for maps of ${height} x ${width}`);
      this.layers.set(key, layer);
    }
    return this.layers.get(key);
  }

  norm({ name, form, epsilon, of }, registers) {
    const maps = registers[of];
    const [weight, bias, average, variance] = ["weight", "bias", "running_mean", "running_var"].map(each =>
      this.tensors.get(`${name}.${each}`),
    );
    const other = form === 3 ? registers.kept.at : 0;
    const result = this.makeMaps(maps.height, maps.width, maps.channels);
    this.kernel.normalise(
      maps.at,
      maps.height * maps.width,
      maps.channels,
      weight,
      bias,
      average,
      variance,
      epsilon,
      form,
      other,
      result.at,
    );
    this.replace(registers, of, result);
  }

  addKept(operation, registers) {
    const { maps, kept } = registers;
    const result = this.makeMaps(maps.height, maps.width, maps.channels);
    this.kernel.add(kept.at, maps.height * maps.width * maps.channels, maps.at, result.at);
    this.replace(registers, "maps", result);
  }

  maxPool({ kernel, stride, padding }, registers) {
    const { at, height, width, channels } = registers.maps;
    const size = length => Math.floor((length + 2 * padding - kernel) / stride) + 1;
    const result = this.makeMaps(size(height), size(width), channels);
    this.kernel.max_pool(at, height, width, channels, kernel, stride, padding, result.at);
    this.replace(registers, "maps", result);
  }

  averagePool(operation, registers) {
    const { at, height, width, channels } = registers.maps;
    const result = this.makeMaps(1, 1, channels);
    this.kernel.average_pool(at, height, width, channels, 1, 1, result.at);
    this.replace(registers, "maps", result);
  }

  linear({ name, classes }, registers) {
    const { at, channels } = registers.maps;
    const result = this.makeMaps(1, 1, classes);
    this.kernel.linear(
      channels,
      classes,
      at,
      this.tensors.get(`${name}.weight`),
      this.tensors.get(`${name}.bias`),
      result.at,
    );
    this.replace(registers, "maps", result);
  }
}

let predictor;
onmessage = async ({ data }) => {
  try {
    if (data.kernel) {
      const { instance } = await WebAssembly.instantiate(data.kernel);
      predictor = new Predictor(instance.exports, data);
      postMessage({ ready: true });
    } else {
      postMessage({ place: data.place, ...predictor.predict(data) });
    }
  } catch (error) {
    postMessage({ error: `${error.message}` });
  }
};
