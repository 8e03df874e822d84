"""Names of the files of a run folder; they stand here and nowhere else."""

CONFIG = "config.json"
FINGERPRINT = "fingerprint.json"
SPLIT = "split.csv"
SCORES = "scores.npz"
METRICS = "metrics.json"
FEATURES = "features.json"
MANIFEST = "manifest.json"
# Below the folder of a setting.
HISTORY = "history.json"
TENSORS = "tensors.json"
BEST_WEIGHTS = "best.safetensors"
LAST_WEIGHTS = "last.safetensors"  # only with the deviation warm-start
CHECKPOINTS = "checkpoint"  # a folder, while the setting trains


def of_setting(setting: str, name: str) -> str:
    """The name of a setting's file, as it stands in the manifest."""
    return f"{setting}/{name}"
