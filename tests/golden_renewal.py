"""Renewal of the golden files of this repository after its portable kernels changed without changing a value."""

from __future__ import annotations

from pathlib import Path

from in4310repro.golden import folder as golden, writing
from in4310repro.golden.claims import Cases, Words, compare_values
from in4310repro.system.files import file_sha256, json_bytes, write_file
from in4310repro.system.numerics import Numerics


def renew(folder: Path, cases: Cases, reason: str, numerics: Numerics, environment: Words) -> list[str]:
    """Update environments.json and golden files after the portable kernels changed without changing a value.

    A numeric class names an arithmetic; equal classes compute equal bits. The values of a file are computed
    again if its class is not that of the present kernels, or if its sha256 is not the one in
    environments.json. If all values have the same bits as before, the file gets the present class, versions
    and origin. A file that has the present class and is not listed yet is only added to the list.

    Files that only other machines can compute are not written. If environments.json does not exist yet, it
    is created and lists these files with their present sha256.

    Args:
        folder: the folder of golden files.
        cases: the cases that this process can compute, by name.
        reason: the reason why the class changed.
        numerics: portable arithmetic.
        environment: the environment variables of the process.

    Returns:
        The names of the files that were written, including environments.json.

    Raises:
        ValueError: a value changed (write its case with `update` instead); a file that this process cannot
            compute was changed; the reason is missing; `numerics` is not portable; the process runs
            in CI; or the git tree has changes.
    """
    if not numerics.portable:
        raise ValueError(
            f"the list can only be renewed in portable arithmetic, which other machines can compare: {numerics.note}"
        )
    listed = writing.begin(folder, "environments", reason, environment, golden.NOX)
    first, written = not (folder / golden.ENVIRONMENTS).exists(), []
    for name in golden.list_files(folder):
        case = Path(name).stem
        listing, content = listed.listing(name), golden.read((folder / name).parent, case)
        intact = listing is not None and listing.files[name] == file_sha256(folder / name)
        ours = name == f"{case}.json" and case in cases
        if not (intact or ours or first):
            theirs = "only the machine that computes it can write it"
            raise ValueError(f"{name} differs from the sha256 in {golden.ENVIRONMENTS}; {theirs}")
        other = content["numeric_class"] != numerics.numeric_class
        if ours and (other or not intact):
            if moved := compare_values(case, content["values"], cases[case](), same=True).differences:
                by_name = f"nox -s golden -- {case} --reason ..."
                raise ValueError(f"{moved[0]}; write a value that moves by name: {by_name}")
            if other or listing:
                content = writing.describe(case, cases[case], listed, numerics, content["values"])
                write_file(folder / name, json_bytes(content))
                written.append(name)
        mode = "portable" if ours else listing.numerics if listing else "native"
        listed = writing.add_file(listed, folder, folder / name, content, mode)
    write_file(folder / golden.ENVIRONMENTS, listed.to_bytes())
    return [*written, golden.ENVIRONMENTS]
