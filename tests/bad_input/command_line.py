"""Rows of bad input: commands as typed, and files given to `audit`."""

from __future__ import annotations

from collections.abc import Callable

from tests.bad_input.images import linked, photos, png
from tests.bad_input.row import each_of, rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import link_to_a_device, named_pipe

row = rows_of("command line")

MAPS = "features --data photos --weights none --image-size 32 --out maps.json"
REPORT = "Accuracy of sea: 50.0% (5/10)\nAccuracy of street: 70.0% (7/10)\n"


def file(name: str, content: str | bytes) -> Callable[[Sandbox], object]:
    return lambda box: box.write(name, content)


def fifo(box: Sandbox) -> None:
    named_pipe(box.work / "report.txt")


def device(box: Sandbox) -> None:
    link_to_a_device(box.work / "report.txt")


def folder(name: str) -> Callable[[Sandbox], object]:
    def make(box: Sandbox) -> None:
        box.photos()
        (box.work / name).mkdir()

    return make


def someone_elses(box: Sandbox) -> None:
    box.write("mine/thesis.txt", "years of work")


def run(box: Sandbox) -> None:
    box.run()


def audited(content: str, more: str = "") -> tuple[str, Callable[[Sandbox], object]]:
    return f"audit report.txt {more}".strip(), file("report.txt", content)


ROWS = [
    row("a command is unknown", "trian", 2, "trian"),
    row("an option is unknown", "train --epoch 3", 2, "--epoch"),
    row("a command of before is used", "ablation --preset tiny", 2, "nox -s ablation"),
    row("an option has no value", "train --epochs", 2, "--epochs"),
    row("a whole number is a word", "train --epochs three", 2, "--epochs"),
    row("a whole number has 5,000 digits", f"train --preset tiny --seed {'9' * 5000}", 2, "seed"),
    row("epochs are negative", "train --preset tiny --epochs -1", 2, "epochs is -1"),
    row("there are 10^20 epochs", f"train --preset tiny --epochs {10**20}", 2, "epochs"),
    row("images are larger than memory", "train --preset tiny --image-size 100000", 2, "image_size"),
    row("scenes are larger than memory", f"train --preset tiny --scenes {10**15}", 2, "scenes"),
    row("the preset is unknown", "train --preset big", 2, "'big'", "demo, course, tiny"),
    row("the preset leads elsewhere", "train --preset ../victim", 2, "../victim"),
    row("the preset is empty", "train --preset ''", 2, "preset"),
    row("the model is unknown", "train --preset tiny --model vgg17", 2, "model is 'vgg17'", "did you mean vgg1"),
    row("the device is unknown", "train --preset tiny --device tpu", 2, "tpu"),
    row("the arithmetic is unknown", "train --preset tiny --numerics fast", 2, "fast", "portable"),
    row("a deviation is unknown", "train --preset tiny --protocol leak", 2, "leak", "shared-split"),
    row("a mean has two numbers", "train --preset tiny --mean 0.5,0.5", 2, "mean", "0.5,0.5", "three numbers"),
    row("a standard deviation is 0", "train --preset tiny --std 0.5,0,0.5", 2, "std", "above 0"),
    row("the interpolation is misspelt", "train --preset tiny --interpolation bicubik", 2, "bicubik", "bicubic"),
    row("a square is larger than the image", "train --preset tiny --crop-ratio 1.5", 2, "crop_ratio is 1.5"),
    row("a log of steps is of no known kind", "train --preset tiny --log-steps xlsx", 2, "xlsx", "csv, tensorboard"),
    row("a negative number of steps is traced", "train --preset tiny --trace -3", 2, "--trace -3", "100:120"),
    row("a range of steps has none", "train --preset tiny --trace 20:20", 2, "--trace 20:20", "100:120"),
    row("steps to trace are words", "train --preset tiny --trace all", 2, "--trace all", "100:120"),
    row("steps are traced that a training has not", "train --preset tiny --epochs 1 --trace 1000:1010", 2,
        "--trace 1000:1010", "steps are 0 to 2"),
    row("an interrupted run is resumed for a test", "train --preset tiny --resume --dry-run", 2, "--dry-run"),
    row("the course has no images", "train --preset course", 2, "--data"),
    row("the run folder holds other files", "train --preset tiny --out mine", 2, "mine", "than a run's",
        make=someone_elses),
    row("the run folder is a file", "train --preset tiny --out note", 2, "note", make=file("note", "x")),
    row("the run folder lies below a file", "train --preset tiny --out note/run", 2, "note", make=file("note", "x")),
    row("a name of the run folder is 300 characters long", f"train --preset tiny --out {'a' * 300}", 2, "aaa"),
    row("another name than the run's is reported", "report runs/demo", 2, "runs/demo is not a run folder"),
    row("the report's folder is a file", "report runs/tiny --out note --no-photographs", 2, "note",
        make=each_of(run, file("note", "x")), written=("work/runs/tiny/features.json", "work/runs/tiny/manifest.json")),
    row("a run is named that is not there", "verify runs/tiny", 2, "runs/tiny is not a run folder"),
    row("a run is a file", "verify note", 2, "note is not a run folder", make=file("note", "x")),
    row("one run is compared with nothing", "compare runs/tiny", 2, "Missing argument", make=run),
    row("a run is compared with a folder", "compare runs/tiny photos", 2, "photos is not a run folder",
        make=each_of(run, photos)),
    row("an evaluation is written to a folder", "evaluate runs/tiny --out photos", 2, "photos",
        make=each_of(run, photos)),
    row("scenes have one pixel", "data scenes new --image-size 1", 2, "--image-size"),
    row("a measured module is unknown", f"{MAPS} --modules conv9", 2, "conv9", make=photos),
    row("a pattern of modules is not a pattern", f"{MAPS} --modules '/(/'", 2, "/(/", make=photos),
    row("a name of a module is empty", f"{MAPS} --modules conv1,,", 2, "modules", make=photos),
    row("samples are of an unknown kind", f"{MAPS} --samples pixels", 2, "pixels", make=photos),
    row("one image is measured", f"{MAPS} --images 1", 2, "1 requested", make=photos),
    row("a negative number of images is measured", f"{MAPS} --images -5", 2, "-5", make=photos),
    row("the result of a measurement is a folder", MAPS, 2, "maps.json is a folder", make=folder("maps.json")),
    row("a report is not there", "audit nowhere.md", 2, "nowhere.md"),
    row("a report is a folder", "audit photos", 2, "photos", make=photos),
    row("a report is a FIFO", "audit report.txt", 2, "report.txt", make=fifo),
    row("a report is a link to a device", "audit report.txt", 2, "report.txt", make=device),
    row("a report is a link to nothing", "audit photos/x.txt", 2, "x.txt", make=linked("nothing", "photos/x.txt")),
    row("a report is a picture", "audit report.txt", 2, "report.txt", make=file("report.txt", png(8, 8))),
    row("a report is empty", "audit report.txt", 2, "report.txt", make=file("report.txt", "")),
    row("a report has no numbers", "audit report.txt", 2, "report.txt", make=file("report.txt", "It works.\n")),
    row("a PDF is none", "audit report.pdf", 2, "report.pdf", make=file("report.pdf", "%PDF-1.7\nnothing")),
    row("a JSON report is nested 100,000 deep", "audit report.json", 2, "report.json",
        make=file("report.json", "[" * 100_000 + "]" * 100_000)),
    row("a TOML report is none", "audit report.toml", 2, "report.toml", make=file("report.toml", "a = = 1")),
    row("a report has a number of 100,000 digits", "audit report.txt", 2, "report.txt",
        make=file("report.txt", f"Accuracy: {'9' * 100_000}\n")),
    row("sizes are not numbers", audited(REPORT, "--sizes sea=many")[0], 2, "sea=many",
        make=file("report.txt", REPORT)),
    row("sizes have no name", "audit report.txt --sizes =5", 2, "=5", make=file("report.txt", REPORT)),
    row("a file of sizes is not there", "audit report.txt --sizes sizes.json", 2, "sizes.json",
        make=file("report.txt", REPORT)),
    row("a file of sizes is a list of numbers", "audit report.txt --sizes sizes.json", 2, "sizes.json",
        make=each_of(file("report.txt", REPORT), file("sizes.json", "[1, 2]"))),
    row("a ceiling is above 1", "audit report.txt --ceiling 1.5", 2, "1.5", make=file("report.txt", REPORT)),
    row("a ceiling is not a number", "audit report.txt --ceiling nan", 2, "nan", make=file("report.txt", REPORT)),
    row("a number of images is 0", "audit report.txt --images 0", 2, "--images", make=file("report.txt", REPORT)),
    row("a page has an unknown ending", "audit report.txt --out page.doc", 2, "page.doc", ".html",
        make=file("report.txt", REPORT)),
    row("one page is for two reports", "audit report.txt report.txt --out page.html", 2, "page.html", "one file",
        make=file("report.txt", REPORT)),
    row("what is trained is misspelt", "train --preset tiny --train heads", 2, "'heads'", "did you mean head"),
    row("what is trained is an empty text", "train --preset tiny --train ''", 2, "train", "it needs a value"),
    row("it is trained from no layer", "train --preset tiny --train from:", 2, "'from:'", "from:LAYER"),
    row("it is trained from an unknown layer", "train --preset tiny --train from:layer9", 2, "'layer9'", "layer4"),
    row("it is trained from a weight", "train --preset tiny --train from:fc.weight", 2, "'fc.weight'", "fc"),
    row("a head is fitted of a network without one", "train --preset tiny --train head --model squeezenet1_1", 2,
        "squeezenet1_1 does not end in one linear layer"),
    row("a head is fitted from the setting before", "train --preset tiny --train head --protocol warm-start", 2,
        "warm-start", "train all"),
    row("a head is fitted by an optimizer", "train --preset tiny --train head --optimizer SGD", 2, "SGD", "L-BFGS"),
    row("a head has no epochs to keep", "train --preset tiny --train head --keep-epochs", 2, "epochs", "--train all"),
    row("a head has no steps to log", "train --preset tiny --train head --log-steps csv", 2, "steps", "--train all"),
    row("a head has no steps to trace", "train --preset tiny --train head --trace 3", 2, "trace", "--train all"),
    row("a fit is rehearsed with epochs kept", "train --preset tiny --train head --keep-epochs --dry-run", 2, "epochs",
        "--train all"),
]  # fmt: skip
