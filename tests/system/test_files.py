"""Only regular files are read and replaced, atomically; a disk error is reported with the file's name."""

import errno
import math
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from in4310repro.data.reading import decode
from in4310repro.data.references import Sample, cifar10
from in4310repro.data.splits import from_csv
from in4310repro.models.sources import open_network
from in4310repro.runs.config import read_toml
from in4310repro.system.files import describe, file_sha256, json_bytes, open_regular, read_json, write_file
from in4310repro.system.tensors import read_tensors
from tests.conftest import Call, refused

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture
def irregular(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Yield one path of each type of file that is not regular."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        kinds = {"a named pipe": "pipe", "a folder": "folder", "a socket": "socket", "a device": os.devnull}
        yield {kind: tmp_path / name for kind, name in kinds.items()}


READERS: dict[str, Callable[[Path], object]] = {
    "JSON": read_json,
    "TOML": read_toml,
    "split": lambda file: from_csv(file, file.parent),
    "image": lambda file: decode(file, 32),
    "hash": file_sha256,
    "safetensors": read_tensors,
    "weights": lambda file: open_network("resnet18").read_weights(str(file)),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_by_every_reader(reader: str, irregular: dict[str, Path]) -> None:
    for kind, path in irregular.items():
        with pytest.raises(ValueError, match=rf"{path.name}.* is {kind}; a regular file is needed"):
            READERS[reader](path)
    with pytest.raises(ValueError, match="link is a named pipe"):
        READERS[reader](irregular["a named pipe"].with_name("link"))


def test_a_disk_is_a_device_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "stat", lambda *_, **_words: os.stat_result((stat.S_IFBLK, *range(9))))
    with pytest.raises(ValueError, match="sda is a device; a regular file is needed"):
        read_json(tmp_path / "sda")


def test_a_pipe_in_the_place_of_a_cifar_batch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    os.mkfifo(tmp_path / "cifar-10-batches-py" / "test_batch")
    with pytest.raises(ValueError, match="test_batch is a named pipe"):
        cifar10(tmp_path, Sample(10, 32, 0))


def test_a_pipe_is_refused_by_every_option_that_names_a_file(call: Call, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "images" / "sea").mkdir(parents=True)
    os.mkfifo(tmp_path / "images" / "sea" / "1.png")
    (tmp_path / "images" / "bay").mkdir()
    (tmp_path / "images" / "bay" / "1.png").symlink_to(tmp_path / "pipe")
    tiny = ("train", "--preset", "tiny")
    for words in (
        (*tiny, "--config", "pipe"),
        (*tiny, "--weights", "pipe"),
        (*tiny, "--data", "images"),
        ("features", "--data", "images", "--out", "x.json", "--weights", "none"),
        ("audit", "pipe"),
    ):
        refused(call, words, "regular file")
    # A check lists all that is wrong with a folder.
    code, output, _ = call("data", "check", "images")
    assert code == 1
    assert output.count("regular file") == 2
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"huge\.toml has 1099511627776 bytes; at most 268435456 are allowed"):
        read_toml(tmp_path / "huge.toml")
    with pytest.raises(ValueError, match=r"at most 268435456 are allowed"):
        read_json(tmp_path / "huge.toml")


def test_a_file_that_took_the_place_of_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"


def test_a_result_does_not_replace_what_is_no_regular_file(irregular: dict[str, Path]) -> None:
    for path in (irregular["a named pipe"], irregular["a folder"], Path(os.devnull)):
        with pytest.raises(ValueError, match="a regular file is needed"):
            write_file(path, b"")
        assert not path.is_file()
    with pytest.raises(ValueError, match="the name of a file is needed"):
        write_file(Path(), b"")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"no space is left on the disk; it takes 12345 bytes and \d+ are free"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EDQUOT, "the quota of the disk is used up"),
        (errno.EIO, "the disk reports an error"),
    ],
    ids=["full", "read-only", "quota", "broken"],
)
def test_a_disk_that_refuses_is_a_sentence_with_the_file(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    write_file(tmp_path / "result.json", b"before")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=words) as caught:
        write_file(tmp_path / "result.json", b"x" * 12345)
    assert re.fullmatch(rf".*result\.json cannot be written: {words}", describe(caught.value))
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    assert (tmp_path / "result.json").read_bytes() == b"before"


def test_names_that_no_file_can_have_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path / ("x" * 300), "the name is too long"),
        (tmp_path / "file" / "below.json", "there is a file in the place of a folder"),
    ):
        with pytest.raises(OSError, match=f"cannot be written: {words}"):
            write_file(path, b"")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("report.toml", "a = " + "[" * 100_000, "report.toml: not valid TOML: it is nested too deep"),
        ("report.toml", "a = " + "9" * 5000, "report.toml: not valid TOML: a number has too many digits"),
        (
            "sizes.json",
            '{"a": ' + "9" * 5000 + "}",
            "--sizes sizes.json: a number has too many digits; expected a file with",
        ),
        ("sizes.json", "[" * 100_000, "--sizes sizes.json: it is nested too deep; expected a file with"),
    ],
    ids=["deep-TOML", "long-TOML", "long-sizes", "deep-sizes"],
)
def test_an_audited_file_beyond_the_parsers_limits_is_one_line(
    name: str, text: str, words: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "report.toml").write_text("a = 1")
    (tmp_path / name).write_text(text)
    refused(call, ("audit", "report.toml", *(("--sizes", name) if name == "sizes.json" else ())), words)


@pytest.mark.parametrize(
    ("text", "words"),
    [("[" * 100_000, "it is nested too deep"), ("9" * 5000, "a number has too many digits"), ("\xff", "is not a JSON")],
    ids=["deep", "long-number", "latin"],
)
def test_json_beyond_the_parsers_limits_is_a_sentence_without_pythons_advice(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=words) as caught:
        read_json(tmp_path / "run.json")
    assert "set_int_max" not in str(caught.value)


def test_a_name_of_230_letters_is_written_through_a_temporary_one_that_fits_too(tmp_path: Path) -> None:
    write_file(tmp_path / ("a" * 230), b"x")
    assert [len(each.name) for each in tmp_path.iterdir()] == [230]


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_does_not_have_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"loss": number})
