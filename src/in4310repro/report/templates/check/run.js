// What the reader gave: the files of one run, the images of its split, and decoded pixels.

const PARTS = ["training", "validation", "test"];
const CONFIG = "config.json";
// Files of a training below the run folder that are not results and in no manifest.
const OF_TRAINING =
  /^(status\.json|logs\/[^/.]+(\/steps\.csv|\/events\.out\.tfevents\.[^/]+|(\.\d+)?\.trace)|[^/]+\/(epochs\/\d{6,}|checkpoint\/\d{6,}-\d{8,}-[0-9a-f]{16})\.safetensors)$/;

/** Whether a path below the run folder is one that a run may write and list in its manifest. */
function isOfRun(name) {
  const [file, folder, ...more] = name.split("/").reverse();
  return !more.length && (folder === undefined ? FACTS.of_run : FACTS.of_setting).includes(file);
}

const PICTURE = /\.(bmp|gif|heic|heif|jpe?g|png|ppm|tiff?|webp)$/i;

/** How pixels become a network's input. A configuration of an older format lacks what was then fixed. */
function preprocessingOf(config) {
  const {
    mean = [0.485, 0.456, 0.406],
    std = [0.229, 0.224, 0.225],
    interpolation = "bilinear",
    crop_ratio = 1,
  } = config;
  return { mean, std, interpolation, crop_ratio, size: config.image_size };
}

/** The files of one run, by their path below its folder. A file is read and parsed once. */
class Run {
  constructor(root, files, pictures) {
    this.pictures = pictures;
    this.root = root;
    this.files = files;
    this.parsed = new Map();
    this.proven = new Set();
  }

  has(name) {
    return this.files.has(name);
  }

  file(name) {
    if (!this.files.has(name)) throw new Fault(name, "it is missing");
    return { ...this.files.get(name), path: name };
  }

  once(name, read) {
    if (!this.parsed.has(name)) this.parsed.set(name, read(this.file(name)));
    return this.parsed.get(name);
  }

  async json(name) {
    return (await this.form(name)).node.value;
  }

  /** Return {text, node, faults, leaves} of a JSON file: what breaks its schema, and its values as {path, shape}. */
  form(name) {
    return this.once(name, async file => {
      const text = await readText(file);
      let node;
      try {
        node = readNodes(text);
      } catch (error) {
        throw new Fault(name, `it is not JSON: ${error.message}`);
      }
      const { $defs: definitions, files } = FACTS.schemas;
      const found = [...examine(node, files[name.split("/").at(-1)], definitions)];
      // An older run lacks options that are newer.
      const isOlder = name === CONFIG && node.value?.format < definitions.Config.properties.format.enum.at(-1);
      const faults = found.filter(({ fault }) => fault && !(isOlder && fault.includes(" lacks ")));
      return { text, node, faults: faults.map(({ fault }) => fault), leaves: found.filter(({ path }) => path) };
    });
  }

  /** Note that a value, with all that is inside of it, follows from weights, scores, images or the split, not from a record. */
  prove(name, ...path) {
    this.proven.add([name, ...path].join("\0"));
  }

  isProven(name, path) {
    return [...path, ""].some((_, length) => this.proven.has([name, ...path.slice(0, length)].join("\0")));
  }

  /** The configuration; `format`, `settings` and `protocol` have the types that this page relies on. */
  async config() {
    const config = await this.json(CONFIG);
    const settings = config?.settings;
    const valid =
      Number.isInteger(config?.format) && Array.isArray(settings) && settings.length && Array.isArray(config.protocol);
    if (!valid || !settings.every(each => typeof each?.name === "string")) {
      throw new Fault(CONFIG, "it has not the format, settings and protocol of a run");
    }
    return config;
  }

  /** The rows of split.csv as {path, label, sha256, part}, with the sorted names of the classes. */
  async split() {
    const name = "split.csv";
    const text = await this.once(name, readText);
    const [heading = [], ...rows] = parseCsv(text);
    if (heading.join() !== "path,class,sha256,part")
      throw new Fault(name, "its columns are not path, class, sha256 and part");
    const entries = rows.map(([path, label, hash, part, ...more], number) => {
      if (more.length || !/^[0-9a-f]{64}$/.test(hash) || !PARTS.includes(part)) {
        throw new Fault(name, `row ${number + 2} is not a path, a class, a sha256 and a part`);
      }
      return { path, label, sha256: hash, part };
    });
    return { entries, classes: [...new Set(entries.map(each => each.label))].sort(byCodePoints) };
  }

  /** The arrays of scores.npz: paths, labels, and the softmax of each image as a Float32Array. */
  async scores() {
    return this.once("scores.npz", async file => {
      const arrays = new Map();
      for (const entry of await zipEntries(file)) {
        arrays.set(entry.name, await readNpy({ ...entry, path: file.path }));
      }
      const [paths, labels, softmax] = ["paths", "labels", "softmax"].map(name => arrays.get(`${name}.npy`));
      const types = [paths, labels, softmax].map(each => `${each?.type} ${each?.shape.length}`);
      if (arrays.size !== 3 || types.join() !== "<U 1,<i8 1,<f4 2") {
        throw new Fault(file.path, "its arrays are not paths, labels and softmax of a run");
      }
      const [images, classes] = softmax.shape;
      if (!images || !classes || paths.shape[0] !== images || labels.shape[0] !== images) {
        throw new Fault(file.path, "its arrays are not of the same images");
      }
      // NumPy writes headers of 30, 20 and 46 bytes for each array, and 22 at the end.
      const needed = total([...arrays].map(([name, array]) => 96 + 2 * name.length + array.bytes)) + 22;
      if (file.size !== needed) throw new Fault(file.path, `it has ${file.size} bytes; its arrays make ${needed}`);
      const rows = Array.from({ length: images }, (_, image) =>
        softmax.values.subarray(image * classes, (image + 1) * classes),
      );
      return { paths: paths.values, labels: labels.values, rows };
    });
  }
}

/** Return the run among the given files, or null; a folder with config.json and a file that only runs have is one. */
function findRun(given) {
  const folders = new Map();
  for (const file of given) {
    const cut = file.path.lastIndexOf("/") + 1;
    const folder = file.path.slice(0, cut);
    if (!folders.has(folder)) folders.set(folder, new Set());
    folders.get(folder).add(file.path.slice(cut));
  }
  const needed = ["manifest.json", "split.csv", "metrics.json"];
  const runs = [...folders].filter(([, names]) => names.has(CONFIG) && needed.some(name => names.has(name)));
  if (runs.length > 1) {
    throw new Fault(
      "",
      `These are ${runs.length} runs: ${runs.map(([folder]) => folder || "files").join(", ")}. Drop one of them.`,
    );
  }
  if (!runs.length) return null;
  const [[root]] = runs;
  // Photographs may lie in a folder of the same name.
  const below = given.filter(file => file.path.startsWith(root));
  const [own, pictures] = [false, true].map(isPicture => below.filter(file => PICTURE.test(file.path) === isPicture));
  const name = file => file.path.slice(root.length);
  return new Run(root, new Map(own.map(file => [name(file), file])), pictures.map(name));
}

/** The images that the reader gave, by path of split.csv, and the decoded pixels of a file of `report --pixels`. */
class Images {
  byName = new Map();
  pixels = new Map();

  static async among(given, run) {
    const images = new Images();
    const own = new Set([...run.files.values()].map(file => file.path));
    const others = given.filter(file => !own.has(file.path));
    for (const file of others) {
      const name = file.path.slice(file.path.lastIndexOf("/") + 1);
      if (!images.byName.has(name)) images.byName.set(name, []);
      images.byName.get(name).push(file);
    }
    for (const file of images.byName.get("check-pixels.safetensors") ?? []) await images.addPixels(file);
    return images;
  }

  async addPixels(file) {
    const { metadata, tensors } = await readSafetensors(file);
    let paths;
    try {
      paths = JSON.parse(metadata.paths);
    } catch {
      throw new Fault(file.path, "its metadata do not name the paths of its images");
    }
    const pixels = tensors.get("pixels");
    const [count, height, width, channels] = pixels?.shape ?? [];
    if (
      pixels?.dtype !== "U8" ||
      pixels.shape.length !== 4 ||
      channels !== 3 ||
      !Array.isArray(paths) ||
      paths.length !== count
    ) {
      throw new Fault(file.path, "it has no bytes `pixels` [image, height, width, 3] with a path for each image");
    }
    paths.forEach((path, place) => {
      const start = pixels.start + place * height * width * 3;
      const read = async () => ({ height, width, pixels: await file.read(start, start + height * width * 3) });
      this.pixels.set(path, { side: height === width ? height : 0, read });
    });
  }

  /** Return the files whose path ends with that of an image. */
  candidates(path) {
    const named = this.byName.get(path.slice(path.lastIndexOf("/") + 1)) ?? [];
    return named.filter(file => file.path === path || file.path.endsWith(`/${path}`));
  }
}
