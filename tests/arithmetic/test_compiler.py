"""Commands that compile nothing do not import torch.compile's package, and those that do compile as before."""

import subprocess
import sys

import pytest

CONSTRUCTED = """
import sys
from in4310repro.system.numerics import activate
numerics = activate("portable", "cpu")
from in4310repro import models
import torch
network = numerics.place(models.build("{name}", classes=3, seed=0)).eval()
images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
with torch.no_grad():
    expected = network(images)
"""
IMPORTED = "[name for name in ('torch._dynamo', 'torch._inductor.config') if name in sys.modules]"


def run_fresh(code: str) -> str:
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert not answer.returncode, answer.stderr
    return answer.stdout.strip()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_lite0"])
def test_a_network_predicts_without_the_compilers_package(name: str) -> None:
    assert run_fresh(f"{CONSTRUCTED.format(name=name)}\nprint({IMPORTED})") == "[]"


def test_torchvision_alone_imports_the_compilers_package_or_the_postponement_can_go() -> None:
    assert "torch._dynamo" in run_fresh(f"import sys, torchvision; print({IMPORTED})")


def test_a_portable_network_that_is_compiled_later_has_the_same_bits() -> None:
    code = (
        "compiled = torch.compile(network, backend='eager')\n"
        "with torch.no_grad(): print(torch.equal(compiled(images), expected))\n"
        "import torch._dynamo\n"
        "print('in4310repro/arithmetic' in torch._dynamo.trace_rules.SKIP_DIRS[-1])\n"
        "print(type(torch._dynamo.utils).__name__, torch._dynamo.utils is sys.modules['torch._dynamo.utils'])"
    )
    assert run_fresh(f"{CONSTRUCTED.format(name='resnet18')}\n{code}").split() == ["True", "True", "module", "True"]


def test_region_pooling_works_after_its_module_was_imported_without_the_compiler() -> None:
    code = (
        "from torchvision.ops import roi_align\n"
        "boxes = [torch.tensor([[0., 0., 3., 3.]])]\n"
        "print(roi_align(torch.ones(1, 1, 4, 4), boxes, 1).item())\n"
        "import torchvision.ops.roi_align as module\n"
        "print(sys.modules['torchvision.ops.roi_align'].is_compile_supported('cpu'))\n"
        "from torch._dynamo.utils import is_compile_supported\n"
        "print(is_compile_supported('cpu'))"
    )
    pooled, ours, expected = run_fresh(f"{CONSTRUCTED.format(name='resnet18')}\n{code}").split()
    assert (pooled, ours) == ("1.0", expected)


def test_normal_values_on_the_meta_device_keep_shape_and_dtype() -> None:
    code = (
        "weight = torch.empty(4, 5, device='meta', dtype=torch.float64)\n"
        "drawn = torch.nn.init.normal_(weight, 0, 2)\n"
        "print(drawn is weight, drawn.device.type, *drawn.shape, drawn.dtype)"
    )
    expected = "True meta 4 5 torch.float64"
    assert run_fresh(f"{CONSTRUCTED.format(name='resnet18')}\n{code}") == expected
