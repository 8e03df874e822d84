"""The page `check.html`, which checks a run in any browser, and the files with images that it reads."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from markupsafe import Markup

from in4310repro import arithmetic
from in4310repro.data import scenes
from in4310repro.metrics import METRICS, Tolerance
from in4310repro.report.markup import read_asset, render
from in4310repro.runs import forms, names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.record_types import QUANTILES
from in4310repro.runs.settings import STRENGTHS
from in4310repro.system import archive
from in4310repro.system.files import write_file
from in4310repro.system.progress import SILENT, Progress
from in4310repro.verification.evidence import IMAGENET_CLASSES
from in4310repro.verification.results import LEAST, LOGIT_TOLERANCE, LOSS_TOLERANCE, OPEN, ROUNDING, SCORE_TOLERANCE

PAGE, IMAGES, PIXELS = "check.html", "check-images.zip", "check-pixels.safetensors"
# The numeric class that the kernel of the page computes. A test compares it with that of the package's own kernels.
NUMERIC_CLASS = "78c6ac914381"
PCG64_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # O'Neill 2014
# In the order in which they need each other.
SCRIPTS = (
    *("files", "formats", "hashes", "json", "random", "metrics", "networks", "prediction", "run", "comparing"),
    *("records", "splits", "initial", "results", "steps", "page"),
)


def html() -> str:
    """Return the page, which is the same for every run. Its security policy allows no request."""
    styles = "".join(map(read_asset, ("chart.css", "page.css", "check.css")))
    script = '"use strict";\n' + "".join(read_asset(f"check/{name}.js") for name in SCRIPTS)
    tolerances = {"score": SCORE_TOLERANCE, "logit": LOGIT_TOLERANCE, "rounding": ROUNDING, "least": LEAST}
    # What the page knows of runs from this package's own tables.
    facts = {
        "numeric_class": NUMERIC_CLASS,
        "version": arithmetic.VERSION,
        "schemas": forms.schemas(),
        "of_run": names.OF_RUN,
        "of_setting": names.OF_SETTING,
        "strengths": STRENGTHS,
        "quantiles": QUANTILES,
        "ziggurat": ziggurat(),
        "scene_classes": scenes.CLASSES,
        "imagenet_classes": IMAGENET_CLASSES,
        "metrics": [
            {
                "name": each.name,
                "measure": each.function.__name__,
                **{key: getattr(each, key) for key in ("reads", "per_class", "in_every_run")},
                "lower": not each.higher_is_better,
                "ranks": each.tolerance is Tolerance.ORDER,
            }
            for each in METRICS.values()
        ],
        "tolerances": tolerances | {"loss": LOSS_TOLERANCE, "open": OPEN},
    }
    context = {
        "styles": Markup(styles),  # noqa: S704
        "styles_sha256": policy_sha256(styles),
        "script": Markup(script),  # noqa: S704
        "script_sha256": policy_sha256(script),
        "worker": Markup('"use strict";\n' + read_asset("check/worker.js")),  # noqa: S704
        "kernel": base64.b64encode(Path(__file__).with_name("check.wasm").read_bytes()).decode(),
        "facts": Markup(json.dumps(facts)),  # noqa: S704
    }
    return render("check.html.jinja", context)


def ziggurat() -> list[float]:
    """Return the ends of the 256 layers by which NumPy draws normal numbers, which it gives to no caller.

    Each is what a PCG64 draws whose next word names the layer and the first of 2^52 places in it.
    """
    bits = np.random.PCG64(0)
    state: Any = bits.state
    numbers, inverse, draws = state["state"], pow(PCG64_MULTIPLIER, -1, 1 << 128), np.random.Generator(bits)
    ends = []
    for layer in range(256):
        numbers["state"] = (((1 << 9) + layer - numbers["inc"]) * inverse) % (1 << 128)
        bits.state = state
        ends.append(draws.standard_normal() * 2.0**52)
    return ends


def policy_sha256(text: str) -> str:
    """Return the hash by which a Content-Security-Policy names an inline script or style sheet."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write_images(run: FinishedRun, folder: Path, data: str | None = None) -> Path | None:
    """Write `check-images.zip`, the test images of a run of drawn scenes; photographs are the reader's own.

    Args:
        run: a finished run.
        folder: folder of the report.
        data: folder that contains the run's images now, if it is not the one in the configuration.

    Returns:
        The path of the file; None if the images are photographs.

    Raises:
        ValueError: an image is missing or has changed since the split was made.
    """
    if run.config.data:
        return None
    split = run.split_below(data)
    archive.write(folder / IMAGES, {entry.path: split.root / entry.path for entry in split.parts["test"]})
    return folder / IMAGES


def write_pixels(run: FinishedRun, folder: Path, data: str | None = None, progress: Progress = SILENT) -> Path:
    """Write `check-pixels.safetensors`, the decoded pixels [image, height, width, 3] of the test images.

    Args:
        run: a finished run.
        folder: folder of the report.
        data: folder that contains the run's images now, if it is not the one in the configuration.
        progress: where to show how many images have been decoded.

    Raises:
        ValueError: an image is missing or has changed since the split was made.
    """
    images = run.test_images(data, progress)
    # Copied: safetensors takes the bytes at an array's address, and those of a file are not contiguous.
    pixels = {"pixels": images.take(range(len(images)))}
    return write_file(folder / PIXELS, safetensors.numpy.save(pixels, {"paths": json.dumps(images.paths)}))
