// The steps of a check, in order. Each records what is equal, what differs and what is not checked.

async function listUnchecked({ run }, section) {
  const verify = "in4310repro verify computes it again";
  section.unchecked(
    "SETTING/history.json",
    "training losses, and all values of epochs other than the best one",
    "in4310repro verify --replay trains again",
  );
  section.unchecked(
    "SETTING/tensors.json",
    "optimizer_sha256, and the weights of epochs other than the best one",
    "in4310repro verify --replay trains again",
  );
  section.unchecked("pixels.json, fingerprint.json", "pixels of training and validation images", verify);
  if ([...run.files.keys()].some(name => name.endsWith("/last.safetensors"))) {
    section.unchecked("SETTING/last.safetensors", "its tensors", "in4310repro verify --replay trains again");
  }
  section.unchecked("SETTING/history.json", "validation metrics of each setting's best epoch", verify);
  if ((await run.config()).protocol.includes("test-loss-each-epoch"))
    section.unchecked("SETTING/history.json", "the test loss of each setting's best epoch", verify);
  section.unchecked("split.csv", "that the seed draws this split", verify);
  section.unchecked(
    "features.json",
    "statistics of feature maps",
    run.has("features.json") ? verify : "the run has none",
  );
  if (run.has("groups.json")) section.unchecked("groups.json", "which images look alike", verify);
  section.unchecked("fingerprint.json", "versions, processor and speed", "nothing in a run shows them");
  section.unchecked("the run", "that no other setting, seed or run was left out", "nothing in a run shows it");
}

const STEPS = [
  ["Files and their hashes", checkFiles],
  ["The split", checkSplit],
  ["Records that must agree", checkRecords],
  ["Hash chains of the trainings", checkChains],
  ["Metrics, computed again from the scores", checkMetrics],
  ["Weights", checkWeights],
  ["Test images and their pixels", checkImages],
  ["Test scores, predicted again from the weights", predictAgain],
  ["What this page does not check", listUnchecked],
];
