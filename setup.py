"""Compiles the kernels of arithmetic/, features/ and trace/ for each instruction set of the platform built for.

Without a compiler for one, the installation goes on. They are plain libraries beside their source, loaded by ctypes:
no Python ABI is in their names, and one for another platform is built by naming it and its compiler:

    CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ python setup.py build_ext --inplace --plat-name linux-aarch64
"""

import copy
import hashlib
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FEATURES, ARITHMETIC, TRACE = (Path("src/in4310repro", each) for each in ("features", "arithmetic", "trace"))
# No more than what torch asks of a processor before it says AVX2 or AVX512.
AVX2 = ["-march=x86-64", "-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
X86 = {"base": ["-march=x86-64"], "avx2": AVX2, "avx512": AVX512}
# Fused products are in the base set of ARM. Elsewhere they may be computed in software, slowly.
ARM, OTHER = {"base": ["-march=armv8-a"]}, {"base": []}
# Square roots are computed in vectors where none has to report an error by errno.
COMMON = ["-O3", "-std=c++17", "-Wno-psabi", "-fno-math-errno"]
# Last on the command line, so that no CFLAGS change what the numbers are. A product and a sum are one rounding where
# the source of arithmetic/ says so; in features/, everywhere.
CONTRACTED, WRITTEN = ["-fno-fast-math", "-ffp-contract=fast"], ["-fno-fast-math", "-ffp-contract=off"]


def source_hash(files: list[Path]) -> str:
    """sha256 of names and contents, as arithmetic/library.py computes it."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def libraries(platform: str) -> list[Extension]:
    """All libraries for a platform by setuptools' name of it, such as linux-x86_64."""
    x86 = platform.lower().endswith(("x86_64", "amd64"))
    sets = X86 if x86 else ARM if platform.endswith("aarch64") else OTHER
    openmp = ["-fopenmp"] if platform.startswith("linux") else []
    # Every x86 processor with fused products has AVX2.
    fused = {name: flags for name, flags in sets.items() if name != "base" or not x86}
    return [
        *(features(name, [*flags, *openmp], openmp) for name, flags in sets.items()),
        *(arithmetic(name, flags) for name, flags in fused.items()),
        # It waits for memory, so that wider vectors gain nothing.
        *(trace(name, [*flags, *openmp], openmp) for name, flags in fused.items() if name != "avx512"),
    ]


class PlainLibraries(build_ext):
    """Builds the libraries of the platform named by --plat-name, of the one at hand if none is."""

    def finalize_options(self) -> None:
        """Chooses the flags by the platform, which is known only now."""
        self.distribution.ext_modules = libraries(self.plat_name or self.get_finalized_command("build").plat_name)
        super().finalize_options()
        self.parallel = self.parallel or True  # one a processor

    def get_ext_filename(self, fullname: str) -> str:
        """Return the file name of a library, without the version of Python."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Name one and build it; on Windows with clang, since Microsoft's compiler has no vector types."""
        # pip shows it with -v.
        sys.stderr.write(f"compiling {ext.name} from {len(ext.sources)} source files\n")
        if self.compiler.compiler_type != "msvc":
            # Libraries for several processors have object files of the same names, and are built at once.
            own = copy.copy(self)
            own.build_temp = str(Path(self.build_temp, ext.name))
            super(PlainLibraries, own).build_extension(ext)
            return
        file = Path(self.get_ext_fullpath(ext.name))
        file.parent.mkdir(parents=True, exist_ok=True)
        macros = [f"-D{name}={value}" for name, value in ext.define_macros]
        flags = [flag for flag in ext.extra_compile_args if flag != "-pthread"]
        self.spawn(["clang++", "-shared", *flags, *macros, *ext.sources, "-o", str(file)])

    def run(self) -> None:
        """Build all; a build that fails leaves no library of an earlier source behind."""
        for file in (*FEATURES.glob("_kernel_*"), *ARITHMETIC.glob("_arithmetic_*"), *TRACE.glob("_trace_*")):
            file.unlink()
        sys.stderr.write(f"compiling {len(self.extensions)} libraries, which takes minutes on a slow machine\n")
        super().run()


class OneWheelAPlatform(bdist_wheel):
    """Names a wheel by its platform alone: the libraries serve every version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform."""
        return "py3", "none", super().get_tag()[2]


def features(name: str, flags: list[str], link_flags: list[str]) -> Extension:
    """Return the kernel of the feature statistics."""
    files = [FEATURES / "kernel.cpp", *sorted(ARITHMETIC.glob("*.hpp"))]
    return library(f"features._kernel_{name}", files, [*flags, *CONTRACTED], link_flags)


def arithmetic(name: str, flags: list[str]) -> Extension:
    """Return the kernels of portable arithmetic."""
    files = sorted(ARITHMETIC.glob("*.[ch]pp"))
    # It has threads of its own.
    return library(
        f"arithmetic._arithmetic_{name}", files, ["-fvisibility=hidden", "-pthread", *flags, *WRITTEN], ["-pthread"]
    )


def trace(name: str, flags: list[str], link_flags: list[str]) -> Extension:
    """Return the kernel that hashes tensors."""
    files = [TRACE / "kernel.cpp", *sorted(ARITHMETIC.glob("*.hpp"))]
    return library(f"trace._trace_{name}", files, ["-fvisibility=hidden", *flags, *WRITTEN], link_flags)


def library(name: str, files: list[Path], flags: list[str], link_flags: list[str]) -> Extension:
    """Return a library made of sources and headers; it holds the hash of these files in this order."""
    return Extension(
        f"in4310repro.{name}",
        [str(file) for file in files if file.suffix == ".cpp"],
        depends=["setup.py", *(str(file) for file in files if file.suffix == ".hpp")],
        define_macros=[("SOURCE", f'"{source_hash(files)}"')],
        extra_compile_args=[*COMMON, *flags],
        extra_link_args=link_flags,
        language="c++",
        optional=True,
    )


if __name__ == "__main__":
    setup(
        cmdclass={"build_ext": PlainLibraries, "bdist_wheel": OneWheelAPlatform},
        ext_modules=libraries(sysconfig.get_platform()),
    )
