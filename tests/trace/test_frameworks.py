"""Trainings of Lightning, transformers, accelerate and torchrun are recorded as they are."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from in4310repro.trace.comparison import compare_ranks

pytestmark = [pytest.mark.slow, pytest.mark.process]
LIGHTNING = """
import sys
import lightning, torch
from torch.utils.data import DataLoader, TensorDataset

class Small(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(32, 2)

    def training_step(self, batch, _number):
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=float(sys.argv[1]))

lightning.seed_everything(1)
loader = DataLoader(TensorDataset(torch.randn(64, 32)), batch_size=8, shuffle=True)
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(Small(), loader)
"""
TRAINER = """
import sys
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

torch.manual_seed(0)
sizes = dict(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
model = BertForSequenceClassification(BertConfig(max_position_embeddings=16, **sizes))
data = [{"input_ids": torch.randint(0, 50, (8,)), "labels": number % 2} for number in range(64)]
options = dict(report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)
options |= dict(per_device_train_batch_size=4, max_steps=8, learning_rate=float(sys.argv[1]))
arguments = TrainingArguments("out", **options)
Trainer(model=model, args=arguments, train_dataset=data).train()
"""
ACCELERATE = """
import sys
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=float(sys.argv[1]))
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(0, 2, (64,))), batch_size=8, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for images, labels in loader:
    optimizer.zero_grad()
    accelerator.backward(torch.nn.functional.cross_entropy(model(images), labels))
    optimizer.step()
"""
TORCHRUN = """
import sys
import torch
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

distributed.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)))
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))
data = TensorDataset(torch.randn(128, 8), torch.randint(0, 2, (128,)))
for images, labels in DataLoader(data, batch_size=8, sampler=DistributedSampler(data)):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
distributed.destroy_process_group()
"""
PROGRAMS = {"lightning": LIGHTNING, "transformers": TRAINER, "accelerate": ACCELERATE, "torch": TORCHRUN}


@pytest.mark.parametrize("library", PROGRAMS)
def test_a_training_of_a_framework_repeats_and_another_learning_rate_is_named(library: str, tmp_path: Path) -> None:
    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed: pip install -e '.[frameworks]'")
    (tmp_path / "train.py").write_text(PROGRAMS[library], encoding="utf-8")
    several = ("torch.distributed.run", "--nproc-per-node", "2", "-m") if library == "torch" else ()
    for name, rate in (("a", "0.01"), ("b", "0.01"), ("c", "0.02")):
        words = ("-m", *several, "in4310repro", "record", f"{name}.trace", "--", "train.py", rate)
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    files = [sorted(tmp_path.glob(f"{name}.trace*")) for name in "abc"]
    assert [len(each) for each in files] == [2 if several else 1] * 3
    same, other = compare_ranks(files[0], files[1]), compare_ranks(files[0], files[2])
    assert (same.equal, same.steps) == (True, 8), same.text()
    assert other.text().startswith(
        "CAUSE  lr 0.01 and 0.02. Differs: arguments 0.01 and 0.02.\nWHERE  step 0, after the"
    )
