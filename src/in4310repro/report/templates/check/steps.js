// The steps of a check, in order. Each records what is equal, what differs and what is not checked.

const REPLAY = "in4310repro verify --replay trains again";
const VERIFY = "in4310repro verify computes it again";
// What would check a value that does not follow from weights, scores, images or split here; the first that fits is shown.
const SHOWN_BY = [
  [/^SETTING\S+ (train_loss|optimizer_sha256)/, REPLAY],
  [/^SETTING\S+ images_per_second/, "nothing in a run shows it"],
  [/^SETTING/, `${VERIFY} for the best epoch, and with --replay for others`],
  [/^config\.json (settings|train|batch_size|epochs|augmentation|schedule|warm_up)/, REPLAY],
  [
    /^config\.json (format|preset|data|imagenet|cifar10|device|numerics|precision|evaluation_batch|checkpoint)|^fingerprint\.json (?!init|pix)/,
    "nothing in a run shows it",
  ],
  [/./, VERIFY],
];

/** Name every value of a record that no step has compared with what follows from weights, scores, images or split. */
async function listUnchecked({ run }, section) {
  const found = new Map();
  for (const name of run.files.keys()) {
    if (!name.endsWith(".json") || !isOfRun(name)) continue;
    const file = name.replace(/.*\//, "SETTING/");
    await part(section, name, "values", async () => {
      for (const { path, shape } of (await run.form(name)).leaves) {
        if (run.isProven(name, path)) continue;
        const what = shape.join(".").replace(/^\*\./, "");
        const [, words] = SHOWN_BY.find(([fits]) => fits.test(`${file} ${what}`));
        const key = `${file}\n${words}`;
        if (!found.has(key)) found.set(key, { file, words, shapes: new Set(), values: 0 });
        found.get(key).shapes.add(what === "*" ? "each value" : what);
        found.get(key).values += 1;
      }
    });
  }
  for (const { file, words, shapes, values } of found.values())
    section.unchecked(file, [...shapes].join(", "), words, values);
  const paths = new Set((await run.split()).entries.map(each => each.path));
  for (const name of run.pictures) {
    const suffixes = name.split("/").map((_, place, parts) => parts.slice(place).join("/"));
    if (!suffixes.some(each => paths.has(each)))
      section.unchecked(name, "the file", "it is a picture that split.csv does not list");
  }
  section.unchecked("the run", "that no other setting, seed or run was left out", "nothing in a run shows it");
}

const STEPS = [
  ["Files and their hashes", checkFiles],
  ["Keys, types and bytes of the records", checkForms],
  ["The split", checkSplit],
  ["Records that must agree", checkRecords],
  ["Images, arithmetic and feature maps in the records", checkImagesRead],
  ["Hash chains of the trainings", checkChains],
  ["Metrics, computed again from the scores", checkMetrics],
  ["Weights before training", checkStart],
  ["Weights", checkWeights],
  ["Test images and their pixels", checkImages],
  ["Test scores, predicted again from the weights", predictAgain],
  ["What this page does not check", listUnchecked],
];
