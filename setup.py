"""Compiles features/kernel.cpp for each instruction set. Without a compiler for one, the installation goes on."""

import hashlib
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = Path("src/in4310repro/features")
SOURCE = FOLDER / "kernel.cpp"
SETS: dict[str, list[str]] = {"base": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    # No more than what torch asks of a processor before it says AVX2 or AVX512.
    SETS["base"] = ["-march=x86-64"]
    SETS["avx2"] = [*SETS["base"], "-mavx2", "-mfma"]
    SETS["avx512"] = [*SETS["avx2"], "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
OPENMP = ["-fopenmp"] if sys.platform == "linux" else []
# Last on the command line, so that no CFLAGS change what the numbers are. A product and a sum are one rounding.
EXACT = ["-fno-fast-math", "-ffp-contract=fast"]


class BuildAnew(build_ext):
    """Removes the libraries of an earlier source first: a build that fails leaves none of them behind."""

    def run(self) -> None:
        """Builds all of them."""
        for file in FOLDER.glob("_kernel_*"):
            file.unlink()
        super().run()


setup(
    cmdclass={"build_ext": BuildAnew},
    ext_modules=[
        Extension(
            f"in4310repro.features._kernel_{name}",
            [str(SOURCE)],
            depends=["setup.py"],
            define_macros=[("SOURCE", f'"{hashlib.sha256(SOURCE.read_bytes()).hexdigest()}"')],
            extra_compile_args=["-O3", "-std=c++17", "-Wno-psabi", *OPENMP, *flags, *EXACT],
            extra_link_args=OPENMP,
            optional=True,
        )
        for name, flags in SETS.items()
    ],
)
