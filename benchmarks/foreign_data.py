"""Small files of random images, words and graphs, in the formats that other people's training scripts read."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

COLOURS = 3


def _images(number: int, *shape: int) -> np.ndarray:
    """Return blurred random bytes: neighbouring pixels are alike, as in photographs."""
    drawn = np.random.default_rng(0).normal(size=(number, *shape))
    for axis in (1, 2):
        drawn = drawn + np.roll(drawn, 1, axis) + np.roll(drawn, 2, axis)
    return np.clip(128 + 25 * drawn, 0, 255).astype(np.uint8)


def mnist(folder: Path) -> None:
    """Write 96 training and 32 test images of ten digits as IDX files."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, number in (("train", 96), ("t10k", 32)):
        images = _images(number, 28, 28)
        header = struct.pack(">IIII", 0x803, number, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = np.arange(number, dtype=np.uint8) % 10
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, number) + labels.tobytes())


def mnist_tensors(folder: Path) -> None:
    """Write the images of `mnist` as the files of tensors that Lightning's examples read."""
    target = folder / "MNIST" / "complete"
    target.mkdir(parents=True, exist_ok=True)
    for name, number in (("training", 96), ("test", 32)):
        torch.save((torch.from_numpy(_images(number, 28, 28)), torch.arange(number) % 10), target / f"{name}.pt")


def cifar(folder: Path) -> None:
    """Write 60 images as the six pickles of CIFAR-10."""
    target = folder / "cifar-10-batches-py"
    target.mkdir(parents=True, exist_ok=True)
    images = _images(60, 32, 32, COLOURS).transpose(0, 3, 1, 2).reshape(60, -1)
    names = [*(f"data_batch_{each}" for each in range(1, 6)), "test_batch"]
    for place, name in enumerate(names):
        part = images[10 * place : 10 * place + 10]
        (target / name).write_bytes(pickle.dumps({"data": part, "labels": list(range(10))}))
    (target / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {each}" for each in range(10)]}))


def _photographs(folder: Path, number: int, size: int, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, pixels in enumerate(_images(number, size, size, COLOURS)):
        Image.fromarray(pixels).save(folder / name.format(place), quality=90)


def classes(folder: Path) -> None:
    """Write folders train and val of two classes of ten PNG images."""
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            _photographs(folder / part / name, 10, 64, "{:02}.png")


def pets(folder: Path) -> None:
    """Write 24 JPEG images whose names begin with one of two breeds."""
    for breed in ("beagle", "persian"):
        _photographs(folder / breed, 12, 64, breed + "_{}.jpg")
        for each in sorted((folder / breed).iterdir()):
            each.rename(folder / each.name)


def berkeley(folder: Path) -> None:
    """Write 12 training and 4 test photographs of 64 pixels."""
    _photographs(folder / "train", 12, 64, "{:04}.png")
    _photographs(folder / "test", 4, 64, "{:04}.png")


def _words(number: int) -> list[str]:
    return [f"word{each}" for each in np.random.default_rng(0).integers(0, 60, number)]


def wikitext(folder: Path) -> None:
    """Write three texts of 60 different words."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in (("train", 700), ("valid", 240), ("test", 240)):
        words = _words(number)
        lines = (" ".join(words[start : start + 12]) for start in range(0, number, 12))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tokens(folder: Path) -> None:
    """Write 2,000 and 500 numbers below 65 as uint16, and the size of the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in (("train", 2000), ("val", 500)):
        np.random.default_rng(0).integers(0, 65, number).astype(np.uint16).tofile(folder / f"{name}.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 65}))


def sines(folder: Path) -> None:
    """Write eight sine waves of 40 points."""
    starts = np.random.default_rng(0).integers(-80, 80, (8, 1))
    torch.save(np.sin((np.arange(40) + starts) / 20.0), folder / "traindata.pt")


def cora(folder: Path) -> None:
    """Write a graph of 1,700 papers of 7 topics with 20 binary words and 3,000 citations."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    words, topics, cites = draw.integers(0, 2, (1700, 20)), draw.integers(0, 7, 1700), draw.integers(0, 1700, (3000, 2))
    rows = (f"{place} {' '.join(map(str, row))} topic{topics[place]}" for place, row in enumerate(words))
    (folder / "cora.content").write_text("\n".join(rows) + "\n", encoding="utf-8")
    edges = sorted({(int(one), int(other)) for one, other in cites if one != other})
    (folder / "cora.cites").write_text("".join(f"{one} {other}\n" for one, other in edges), encoding="utf-8")


def instructions(folder: Path) -> None:
    """Write 16 instructions with answers, a Llama of 2 layers with its tokenizer, and an empty module `openai`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = _words(16 * 8)
    rows = [
        {
            "instruction": " ".join(words[8 * n : 8 * n + 4]),
            "input": "",
            "output": " ".join(words[8 * n + 4 : 8 * n + 8]),
        }
        for n in range(16)
    ]
    (folder / "instructions.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "openai.py").write_text("class openai_object:\n    OpenAIObject = dict\n", encoding="utf-8")
    vocabulary = {word: place for place, word in enumerate(["<unk>", "<s>", "</s>", *sorted(set(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "llama")
    sizes = {"vocab_size": len(vocabulary), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2)).save_pretrained(folder / "llama")


MAKERS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (mnist, mnist_tensors, cifar, classes, pets, berkeley, wikitext, tokens, sines, cora, instructions)
}
