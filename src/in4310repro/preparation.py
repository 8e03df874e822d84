"""Everything that is checked, read and decoded before a training computes its first step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from in4310repro import architectures, models
from in4310repro.capacity import refuse_beyond_disk, refuse_beyond_memory
from in4310repro.config import FIVE_MODULES, Config, change, from_json, with_preprocessing
from in4310repro.data.cache import cache_folder
from in4310repro.data.comparison import comparison_sets
from in4310repro.data.embedded import embedded_catalogue, embedded_folder
from in4310repro.data.folders import Catalogue, catalogue
from in4310repro.data.images import ImageSet, UnreadableImagesError, decoder, load_images
from in4310repro.data.scenes import CLASSES
from in4310repro.data.splits import PARTS, Split, parse_sizes, stratified_split
from in4310repro.epochs import refuse_too_large_a_step
from in4310repro.features import choose
from in4310repro.files import file_sha256, read_bytes, read_json
from in4310repro.fingerprint import Fingerprint, fingerprint
from in4310repro.numerics import Numerics
from in4310repro.prediction import refuse_too_large
from in4310repro.preprocessing import DECIDED_BY_WEIGHTS, Preprocessing
from in4310repro.presets import PRESETS, SHARES, with_counts
from in4310repro.progress import Progress
from in4310repro.runs import chain, names
from in4310repro.tensors import metadata_of, tensors_sha256


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a training starts from."""

    config: Config  # with the split as counts, and the modules of its network
    split: Split
    sets: Mapping[str, ImageSet]  # of each part
    network: torch.nn.Module  # with the initial weights
    fingerprint: Fingerprint

    def network_with(self, weights: dict[str, torch.Tensor], source: str) -> torch.nn.Module:
        """The network with other weights; raises ValueError, which names their source, where they are not its own."""
        return models.from_state(self.config.model, len(self.split.classes), weights, source)


def prepare(config: Config, numerics: Numerics, progress: Progress) -> Prepared:
    """Checks all inputs and decodes all images.

    Raises:
        ValueError: whatever is wrong with the data, the weights or the settings.
    """
    architectures.trust(config.model)
    architectures.check_name(config.model)
    _refuse_too_large(config, numerics)
    if config.imagenet or config.cifar10:
        comparison_sets(config)
    images = _catalogue(config, progress)
    if config.split == SHARES:
        config = with_counts(config, len(images.entries))
        progress.message(f"{len(images.entries)} images of {len(images.classes)} classes, split {config.split}")
    split = stratified_split(images, parse_sizes(config.split, len(images.entries)), config.seed)
    network = models.build(config.model, len(split.classes), config.seed, config.weights)
    config = _with_preprocessing(config)
    config = _for_network(config, network, len(split.classes), numerics)
    # The test images are decoded too, so that an unreadable one is reported now and not after hours.
    sets = _load_parts(split, config, progress)
    current = fingerprint(numerics)
    current["initial_weights_sha256"] = tensors_sha256(network.state_dict())
    current["decoder"] = decoder()
    current["pixels_sha256"] = {part: images.pixels_sha256() for part, images in sets.items()}
    return Prepared(config=config, split=split, sets=sets, network=network, fingerprint=current)


def _with_preprocessing(config: Config) -> Config:
    """The configuration with how images are prepared, where it leaves that to the weights.

    Raises:
        ValueError: they do not say.
    """
    if all(getattr(config, name) is not None for name in DECIDED_BY_WEIGHTS):
        return config
    given = preprocessing_of(config.model, config.weights)
    if given is None:
        raise ValueError(
            f"{config.weights} does not say how images are prepared for it; --mean, --std, --interpolation and "
            "--crop-ratio do, for most networks 0.485,0.456,0.406 and 0.229,0.224,0.225, bilinear and 1"
        )
    return with_preprocessing(config, given)


def preprocessing_of(name: str, weights: str) -> Preprocessing | None:
    """How images are prepared for weights; None where a file does not say.

    A safetensors file says it in its metadata, as JSON at the key `preprocessing`; weights of a run by the run's
    configuration; a file that torchvision hands out by its name, which holds its hash.

    Args:
        name: of a network, see `architectures`.
        weights: `none`, `imagenet` or a file that is there.

    Raises:
        ValueError: what a file says is no such record.
    """
    if weights == "none":
        return Preprocessing()
    if weights == "imagenet":
        return architectures.imagenet_preprocessing(name)
    file = Path(weights)
    if file.suffix == ".safetensors":
        said = metadata_of(read_bytes(file)).get("preprocessing")
        return _of_run(file) if said is None else _as_preprocessing(said, file)
    if ":" not in name and file.name == architectures.imagenet_weights(name).url.rsplit("/", 1)[1]:
        digits = file.stem.rsplit("-", 1)[1]
        return architectures.imagenet_preprocessing(name) if file_sha256(file).startswith(digits) else None
    return None


def _of_run(file: Path) -> Preprocessing | None:
    """How images are prepared for the weights of a run; None where the file lies in none."""
    recorded = file.absolute().parent.parent / names.CONFIG
    return from_json(read_json(recorded), f"{recorded}").preprocessing if recorded.is_file() else None


def _as_preprocessing(text: str, file: Path) -> Preprocessing:
    try:
        values = json.loads(text)
        given = {name: values[name] for name in DECIDED_BY_WEIGHTS}
        return change(PRESETS["course"], given, f"{file}").preprocessing
    except (KeyError, TypeError, ValueError) as error:
        valid = f"JSON with {', '.join(DECIDED_BY_WEIGHTS)}"
        raise ValueError(f"{file}: preprocessing in its metadata is {text[:100]}; {valid} is valid ({error})") from None


def _for_network(config: Config, model: torch.nn.Module, classes: int, numerics: Numerics) -> Config:
    """The configuration with the modules whose maps are measured, where it only has those of another network.

    Raises:
        ValueError: the network gives no scores to images of this size, has no such modules, or computes by functions
            that have no portable arithmetic.
    """
    architectures.check_scores(model, config.model, classes, config.image_size)
    if config.modules == FIVE_MODULES:
        config = replace(config, modules=architectures.default_modules(model, config.model, config.image_size))
    choose(model, config.modules)
    if numerics.portable and (reason := architectures.obstacle(config.model, config.image_size)):
        raise ValueError(f"{config.model} has no portable arithmetic: {reason}; --numerics native is the way out")
    return config


def _refuse_too_large(config: Config, numerics: Numerics) -> None:
    """Raises ValueError for sizes that this machine cannot hold, before anything is read or drawn."""
    pixels = config.image_size**2
    refuse_too_large_a_step(config, numerics)
    refuse_too_large(config, numerics)
    if not config.data and not embedded_folder(config.scenes, config.image_size, config.seed).exists():
        need = config.scenes * len(CLASSES) * pixels * 3
        what = f"{config.scenes} scenes of each class at image_size {config.image_size}"
        refuse_beyond_memory(f"{what}, decoded, take", need)
        # The files, and their decoded pixels.
        refuse_beyond_disk(f"{what} take", 2 * need, cache_folder())


def _catalogue(config: Config, progress: Progress) -> Catalogue:
    if config.data:
        return catalogue(Path(config.data), progress)
    if not config.scenes:
        raise ValueError(f"preset {config.preset} trains on real images: --data FOLDER names their class folders")
    return embedded_catalogue(config.scenes, config.image_size, config.seed, progress)


def _load_parts(split: Split, config: Config, progress: Progress) -> dict[str, ImageSet]:
    """The images of each part; raises one error that names the unreadable ones of all parts."""
    sets, unreadable = {}, dict[Path, str]()
    for part in PARTS:
        try:
            sets[part] = _load(split, chain.part_read_as(part, config), config, progress)
        except UnreadableImagesError as error:
            unreadable |= error.reasons
    if unreadable:
        raise UnreadableImagesError(unreadable)
    return sets


def _load(split: Split, part: str, config: Config, progress: Progress) -> ImageSet:
    return load_images(
        part, split.root, split.parts[part], config.image_size, preprocessing=config.preprocessing, progress=progress
    )
