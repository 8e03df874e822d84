"""Compiles features/kernel.cpp for each instruction set. Without a compiler for one, the installation goes on."""

import hashlib
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = "src/in4310repro/features/kernel.cpp"
SETS: dict[str, list[str]] = {"base": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    SETS["avx2"] = ["-mavx2", "-mfma"]
    SETS["avx512"] = [*SETS["avx2"], "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
OPENMP = ["-fopenmp"] if sys.platform == "linux" else []

setup(
    ext_modules=[
        Extension(
            f"in4310repro.features._kernel_{name}",
            [SOURCE],
            depends=["setup.py"],
            define_macros=[("SOURCE", f'"{hashlib.sha256(Path(SOURCE).read_bytes()).hexdigest()}"')],
            # On, since a product and a sum are one rounding on every processor that has an instruction for it.
            extra_compile_args=["-O3", "-std=c++17", "-ffp-contract=fast", "-Wno-psabi", *OPENMP, *flags],
            extra_link_args=OPENMP,
            optional=True,
        )
        for name, flags in SETS.items()
    ]
)
