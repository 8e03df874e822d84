"""Hash chain of a training: each epoch's entry includes the hash of the previous entry.

The last hash therefore fixes all epochs. The formula is in docs/verification.md.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import rfc8785

from in4310repro.data import preprocessing, splits
from in4310repro.models.sources import ALL
from in4310repro.runs.config import Config
from in4310repro.runs.record_types import Chain, EpochHashes
from in4310repro.runs.settings import OPTIONS, OptimizerSetting
from in4310repro.system.files import bytes_sha256
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.tensors import Tensors, tensor_hashes, tensors_sha256

DIGITS = 12  # of the sha256 of each tensor


def sha256_of(value: Mapping[str, Any], config: Config) -> str:
    """Return the sha256 of a JSON object in the canonical form that the run's format has.

    It is that of RFC 8785. Up to format 5 it was Python's: keys sorted by code point, ASCII, floats as `repr` has them.

    Raises:
        ValueError: a number is not finite or, in RFC 8785, an integer beyond 2^53.
    """
    if config.is_canonical:
        return bytes_sha256(rfc8785.dumps(dict(value)))
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return bytes_sha256(text.encode("ascii"))


def entry(epoch: int, previous: str, weights: Tensors, optimizer_state: Tensors) -> EpochHashes:
    """Return the chain entry of an epoch: the hashes of its results and of the previous entry.

    Args:
        epoch: number of the epoch, from 1.
        previous: the hash of the previous entry, or of the starting point.
        weights: weights and buffers after the epoch.
        optimizer_state: the optimizer's tensors after the epoch, by `INDEX.NAME` (see
            `checkpoints.optimizer_tensors`).
    """
    return {
        "epoch": epoch,
        "previous": previous,
        "weights_sha256": tensors_sha256(weights),
        "optimizer_sha256": tensors_sha256(optimizer_state),
        "tensors": {name: digits[:DIGITS] for name, digits in tensor_hashes(weights).items()},
    }


def relink(entries: Chain, start: str, config: Config) -> Chain:
    """Return the entries of a hash chain with each `previous` hash computed again, from a new starting point.

    Args:
        entries: the entries of a chain.
        start: the hash of the new starting point, which becomes the `previous` hash of the first entry.
        config: the configuration of the run.
    """
    linked: Chain = []
    for each in entries:
        linked.append({**each, "previous": sha256_of(linked[-1], config) if linked else start})
    return linked


def start_sha256(
    config: Config, setting: OptimizerSetting, split_sha256: str, initial_weights_sha256: str, numeric_class: str
) -> str:
    """Return the hash of all inputs of one optimizer's training, stored as `previous` in the first chain entry.

    Args:
        config: the configuration of the run.
        setting: the setting that is trained.
        split_sha256: hash of the bytes of `split.csv`.
        initial_weights_sha256: hash of weights and buffers before the first step.
        numeric_class: identifier of the arithmetic; equal classes give equal bits.
    """
    of_training = {name: getattr(config, name) for name, option in OPTIONS.items() if option.hashed}
    if config.is_canonical:
        # Numbers of RFC 8785 are doubles, and a seed may have 63 bits.
        of_training["seed"] = str(config.seed)
    how = preprocessing.to_json(config.preprocessing)
    if how != preprocessing.to_json(preprocessing.Preprocessing()):
        of_training["preprocessing"] = how | {"size": config.image_size}
    # Left out for older runs, which ignored it, and for drawn scenes, which have none, so that their chains stay valid.
    if config.data and config.orientation == preprocessing.APPLIED:
        of_training["orientation"] = preprocessing.APPLIED
    if (part := config.trained_part(setting)) != ALL:
        of_training["train"] = part
    given = {n: value for n, value in asdict(setting).items() if n not in ("name", "train") and value is not None}
    return sha256_of(
        {
            "config": of_training,
            "initial_weights_sha256": initial_weights_sha256,
            "numeric_class": numeric_class,
            "setting": given,
            "split_sha256": split_sha256,
            "training_images": config.protocol.part_read_as("training"),
        },
        config,
    )


def starts(
    config: Config, fingerprint: Fingerprint, split: splits.Split, tensors: Mapping[str, Chain]
) -> dict[str, str]:
    """Return a dict from the name of each training setting (one optimizer) to the hash of its starting point.

    `tensors` maps the name of each training setting to its epoch hashes. They are needed if the protocol starts
    each training with the final weights of the previous one.
    """
    split_hash, numeric_class = bytes_sha256(splits.to_csv(split)), fingerprint["numeric_class"]
    initial = fingerprint.get("initial_weights_sha256", "")
    found = {}
    for setting in config.settings:
        found[setting.name] = start_sha256(config, setting, split_hash, initial, numeric_class)
        if config.protocol.starts_warm and tensors[setting.name]:
            initial = tensors[setting.name][-1]["weights_sha256"]
    return found
