"""in4310repro.golden.plugin in another project, with pytest run inside pytest."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from in4310repro.golden import Claim, plugin
from in4310repro.golden.claims import find_claim_faults
from in4310repro.golden.folder import PYTEST, read_environments
from in4310repro.system.files import file_sha256, json_bytes
from tests.docs.commands import list_pages

pytest_plugins = ["pytester"]
TESTS = """
import numpy as np
from in4310repro.golden import Claim

def test_weights(golden):
    golden("weights", np.array([[0.1, 2.0]], dtype="float32"))

def test_spectrum(golden):
    values = Claim(value=np.array([2.0, 1.0]), tier="bitwise", otherwise="numerical", tolerance=1e-9, reason="sums")
    golden("spectrum", {"values": values, "names": Claim(value=["a", "b"])})
"""
# Without a collection of garbage and without plugins that each session would import anew.
QUICK = [f"-pno:{name}" for name in ("cacheprovider", "unraisableexception", "xdist", "benchmark", "hypothesispytest")]
OPTIONS = ("-p", "in4310repro.golden.plugin", *QUICK)


class Project:
    """A git repository with tests, which are run in this process."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester, self.folder = pytester, pytester.path
        self.git("init", "-q")
        # What Python and pytest leave beside the tests; without it an update refuses the tree.
        (self.folder / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n", encoding="utf-8")

    def git(self, *words: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", f"{self.folder}", *identity, *words], check=True)

    def write(self, tests: str) -> None:
        (self.folder / "test_it.py").write_text(tests, encoding="utf-8")
        (self.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        self.git("add", ".gitignore", "test_it.py", "pytest.ini")
        self.git("commit", "-q", "-m", "tests")

    def run(self, *words: str) -> tuple[int, str]:
        done = self.pytester.runpytest_inprocess(*OPTIONS, *words)
        return int(done.ret), "\n".join((*done.outlines, *done.errlines))

    def update(self, case: str, reason: str = "first values") -> tuple[int, str]:
        return self.run("--golden-update", case, "--golden-reason", reason)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("CI", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    made = Project(pytester)
    made.write(TESTS)
    return made


@pytest.fixture
def written(project: Project) -> Project:
    """Return the project after its two golden files were written."""
    code, text = project.update("weights,spectrum")
    assert code == 0, text
    for case in ("weights", "spectrum"):
        assert f"golden: wrote golden/{case}.json; commit it with environments.json" in text
    return project


def test_a_missing_file_says_what_to_type_and_what_was_typed_writes_it(project: Project) -> None:
    code, text = project.run()
    assert code == 1
    assert "weights: golden/weights.json does not exist" in text
    assert 'if the new values are right: pytest --golden-update weights --golden-reason "why it moved"' in text
    code, text = project.update("weights")
    # The other case has no file yet.
    assert code == 1
    assert "golden: wrote golden/weights.json; commit it with environments.json" in text
    content = json.loads((project.folder / "golden/weights.json").read_text())
    assert content["function"] == "test_it.test_weights"
    assert content["command"] == 'pytest --golden-update weights --golden-reason "first values"'
    entry = content["values"]["value"]
    assert (entry["dtype"], entry["shape"]) == ("float32", [1, 2])
    assert entry["value"] == [[float(np.float32(0.1)), 2.0]]


def test_unmoved_values_pass_and_their_tiers_are_counted(written: Project) -> None:
    code, text = written.run()
    assert code == 0, text
    assert "golden values: 4 exact, 2 bitwise" in text


def test_a_moved_value_fails_and_is_written_by_name_alone(written: Project) -> None:
    written.write(TESTS.replace("0.1", "0.25").replace("[2.0, 1.0]", "[2.5, 1.0]"))
    code, text = written.run()
    assert code == 1
    assert "weights: value differs in 1 of 2 entries, by up to 0.15 (exact): [0] expected" in text
    assert "spectrum: values differs in 1 of 2 entries, by up to 0.5 (bitwise): [0] expected 2.0, got 2.5" in text
    before = (written.folder / "golden/spectrum.json").read_bytes()
    assert written.update("weights", "weights are larger")[0] == 1
    assert (written.folder / "golden/spectrum.json").read_bytes() == before
    assert "weights:" not in written.run()[1]


@pytest.mark.process
def test_values_of_numpy_are_compared_without_torch_and_a_test_that_imports_it_has_the_arithmetic_asked_for(
    written: Project,
) -> None:
    exact = TESTS.split("def test_spectrum")[0]
    lines = ("def test_it(golden):", "    import torch", "    assert torch.are_deterministic_algorithms_enabled()")
    without = f"import sys\n{exact}    assert 'torch' not in sys.modules\n\n"
    written.write(without + "\n".join([*lines, "    golden('it', 1)", ""]))
    done = written.pytester.runpytest_subprocess(*OPTIONS, "test_it.py")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*it: golden/it.json does not exist*", "golden values: 2 exact"])
    # Bits depend on torch's arithmetic, which is looked at where a value is claimed to the bit.
    written.write(TESTS + "    import sys\n    assert 'torch' in sys.modules\n")
    done = written.pytester.runpytest_subprocess(*OPTIONS, "-k", "spectrum")
    done.stdout.fnmatch_lines(["golden values: 2 exact, 2 bitwise"])


def test_an_edited_file_and_one_of_another_environment_are_told_apart(written: Project) -> None:
    file, listing = (written.folder / "golden" / name for name in ("spectrum.json", "environments.json"))
    whole = file.read_text()
    file.write_text(whole.replace("2.0", "3.0"))
    code, text = written.run()
    assert code == 1
    assert "spectrum.json was changed after it was written; only pytest --golden-update spectrum" in text
    file.write_text(whole)
    listing.write_text(listing.read_text().replace("cpu", "gpu"))
    assert "environments.json was edited by hand" in written.run()[1]
    assert "only pytest --golden-update may write it" in written.run()[1]


def test_elsewhere_bitwise_values_are_near_or_skipped(written: Project) -> None:
    folder = written.folder / "golden"
    listed = read_environments(folder, PYTEST)
    for file in (folder / "weights.json", folder / "spectrum.json"):
        file.write_bytes(json_bytes(json.loads(file.read_text()) | {"numeric_class": "elsewhere"}))
    files = {file.name: file_sha256(file) for file in folder.glob("[sw]*.json")}
    (environment,) = (replace(each, numeric_class="elsewhere", files=files) for each in listed.environments)
    (folder / "environments.json").write_bytes(replace(listed, environments=(environment,)).to_bytes())
    code, text = written.run()
    assert code == 0, text
    assert "golden values: 4 exact, 2 numerical" in text


def test_a_file_that_no_test_asks_for_ends_with_exit_code_1_if_all_tests_ran(written: Project) -> None:
    assert "no test uses" not in written.run("-k", "weights")[1]
    written.write(TESTS.split("def test_spectrum")[0])
    code, text = written.run()
    assert code == 1
    assert "golden: no test uses golden/spectrum.json; remove it" in text
    assert "no test uses" not in written.run("test_it.py")[1]
    written.write(TESTS.replace("def test_spectrum", "import pytest\n\n@pytest.mark.skip\ndef test_spectrum"))
    assert written.run()[0] == 0


def test_an_update_is_refused_without_a_reason_on_a_dirty_tree_in_ci_and_of_no_case(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(case: str, *reason: str) -> str:
        code, text = project.run("--golden-update", case, *("--golden-reason", *reason) * bool(reason))
        assert (code, "weights: " in text, (project.folder / "golden").exists()) == (4, False, False), text
        return text

    assert "pytest --golden-update weights --golden-reason" in refused("weights")
    assert "--golden-reason with at least two words" in refused("weights", "because")
    assert "--golden-reason is still the example text; write what changed and why" in refused("weights", "why it moved")
    assert "case '' names a file" in refused("weights,", "first values")
    monkeypatch.setenv("CI", "true")
    assert "golden: golden files are never written in CI" in refused("weights", "first values")
    monkeypatch.delenv("CI")
    (project.folder / "more.py").write_text("")
    assert "golden: the tree has changes" in refused("weights", "first values")


def test_an_update_that_fails_shows_one_error_and_leaves_no_folder(project: Project) -> None:
    project.write(
        "import pytest\n\n@pytest.mark.parametrize('case', ['mixed', 'alike'])\ndef test_it(golden, case):\n"
        "    golden(case, {'it': [[1, 2], [1, 'a']]} if case == 'mixed' else {1: 0, '1': 0})\n"
    )
    # Names that no test uses are known after all have run.
    code, text = project.update("mixed,other,more")
    assert code == 4
    assert "golden: no test uses case 'other', 'more'; cases used: alike, mixed" in text
    assert "golden: mixed: it[1][1] is a text, and mixed: it[1][0] is a number; all must be of one kind" in text
    assert "two of the names 1, '1' print alike" in text
    assert "During handling" not in text
    assert not (project.folder / "golden").exists()


def test_a_case_is_asked_for_once_and_has_the_name_of_a_file(project: Project) -> None:
    project.write(
        "import pytest\n\n@pytest.mark.parametrize('case', ['a', 'a', 'a/b', 'environments'])\n"
        "def test_it(golden, case):\n    golden(case, 1)\n"
    )
    code, text = project.run("-rA")
    assert code == 1
    assert "case 'a' is already used by test_it.py::test_it[a" in text
    for name in ("a/b", "environments"):
        assert f"case {name!r} names a file; expected up to 60 letters, digits, - and _" in text


def test_the_project_of_the_page_on_golden_files_does_what_the_page_says(project: Project) -> None:
    (page,) = (page for page in list_pages() if page.name == "golden-files.md")
    conftest, tests = (block for language, block in page.blocks if language == "python")
    assert conftest.splitlines()[1] == 'pytest_plugins = ["in4310repro.golden.plugin"]'
    first, second, typed, *moved, _ = (
        line for language, block in page.blocks if not language for line in block.splitlines()
    )
    project.write(tests)
    for line in (first, second):
        assert line in project.run()[1].splitlines()
    reason = shlex.split(typed)[-1]
    assert project.update("design", reason)[0] == 0
    assert project.run()[0] == 0
    changed = "np.linspace(0, 1.01, 5)"
    assert f"With `{changed}`" in page.text
    project.write(tests.replace("np.linspace(0, 1, 5)", changed))
    failure = project.run()[1]
    assert len(moved) == 2
    # The last digits of singular values are LAPACK's.
    assert moved[0].partition("[0]")[0] in failure
    assert moved[1].removesuffix("...") in failure
    # The smallest case of the page.
    smallest = re.search(r"The smallest case is `(.+?)`", page.text)
    assert smallest
    project.write(f"def test_it(golden):\n    {smallest[1]}\n")
    assert project.run("test_it.py", "--golden-update", "count", "--golden-reason", reason)[0] == 0


@pytest.mark.parametrize(
    ("names", "reason", "message"),
    [
        ([], "first values", "an update takes a name and a reason: pytest --golden-update NAME --golden-reason"),
        (["a", "b"], "", "an update takes a name and a reason: pytest --golden-update a,b --golden-reason"),
        *((["a", name], "first values", f"case {name!r} names a file") for name in ("a/b", "environments", "a" * 61)),
        (["a"], "because", "at least two words"),
        (["a" * 60], "first values", "is not in a git checkout"),
    ],
)
def test_a_request_lacks_no_name_reason_or_checkout_and_without_one_nothing_is_checked(
    names: list[str], reason: str, message: str, tmp_path: Path
) -> None:
    plugin.check_request([], "", tmp_path, {"CI": "true"})
    with pytest.raises(ValueError, match=re.escape(message)):
        plugin.check_request(names, reason, tmp_path, {})


def test_native_arithmetic_waits_for_the_first_import_of_torch(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(plugin, "activate", lambda mode, _device: modes.append(mode))
    monkeypatch.delitem(sys.modules, "torch")
    pytester.makepyfile(torch="")
    pytester.syspathinsert()
    config = pytester.parseconfigure(*OPTIONS)
    session = plugin.GoldenSession(config)
    for _ in range(2):
        session.begin_test()
    assert modes == []
    importlib.import_module("torch")
    assert modes == ["native"]
    plugin.GoldenSession(config).begin_test()
    assert modes == ["native", "native"]


def test_an_update_without_a_reason_ends_before_tests_and_a_session_that_leaves_out_files_is_partial(
    pytester: pytest.Pytester,
) -> None:
    with pytest.raises(pytest.UsageError, match="an update takes a name and a reason"):
        pytester.parseconfigure(*OPTIONS, "--golden-update", "a")
    for words, partial in (((), False), (("--ignore-glob", "a*"), True), (("--ignore", "a"), True)):
        assert plugin.GoldenSession(pytester.parseconfigure(*OPTIONS, *words)).partial is partial


def test_a_session_that_writes_says_so_and_that_it_compared_nothing_and_names_unused_files(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(plugin, "clean_commit", lambda _folder: "")
    for name in ("activate", "update"):
        monkeypatch.setattr(plugin, name, lambda *_, **__: None)
    pytester.makepyfile("def test_it(golden):\n    golden('a', 1)")
    pytester.mkdir("golden").joinpath("b.json").touch()
    done = pytester.runpytest_inprocess(*OPTIONS, "--golden-update", "a", "--golden-reason", "first values")
    done.stdout.fnmatch_lines(
        [
            "golden values: none compared",
            "golden: wrote golden/a.json; commit it with environments.json",
            "golden: no test uses golden/b.json; remove it or restore its test",
        ],
        consecutive=True,
    )
    assert done.ret == 1


def test_values_are_claimed_by_name_and_a_claim_among_them_keeps_its_tier() -> None:
    bits = Claim(value="c0ffee", tier="bitwise")
    assert plugin.make_claims({1: bits, "b": 2}) == {"1": bits, "b": Claim(value=2)}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float32", "float64", "<U3"])
def test_an_array_is_held_with_its_dtype_and_shape_and_reads_back_to_the_bit(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    if dtype.startswith("float"):
        array /= np.array(3, dtype)
    entry = json.loads(json.dumps(Claim(value=array).to_json()))
    assert find_claim_faults("x: it", entry) == []
    assert (entry["dtype"], entry["shape"]) == ("str" if dtype == "<U3" else dtype, [2, 2])
    again = np.asarray(entry["value"], dtype)
    assert again.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("value", "dtype"), [([300], "uint8"), ([0.5], "int8"), ([0.1], "float32"), ([1e300], "float16")]
)
def test_a_value_that_its_dtype_cannot_hold_is_a_fault(value: list[float], dtype: str) -> None:
    entry = Claim(value=value).to_json() | {"dtype": dtype}
    assert find_claim_faults("x: it", entry)[0].startswith(f"x: it has dtype {dtype!r}; expected ")


@pytest.mark.parametrize("array", [np.array([]), np.array([1j]), np.array([None]), np.zeros(1, "longdouble")])
def test_arrays_of_nothing_and_of_what_json_does_not_hold_are_refused(array: np.ndarray) -> None:
    if array.dtype == "float64" and array.size:
        pytest.skip("long doubles are doubles here")
    with pytest.raises(ValueError, match="at least one value of bool, integers, float16"):
        Claim(value=array)


def test_texts_have_no_tolerance() -> None:
    with pytest.raises(ValueError, match="a text has no tolerance; its tier must be exact or bitwise"):
        Claim(value=["a"], tier="bitwise", otherwise="numerical", tolerance=1.0, reason="made up")


def test_the_plugin_is_not_part_of_this_suite(request: pytest.FixtureRequest) -> None:
    assert not request.config.pluginmanager.has_plugin("golden session")
    assert Path(__file__).with_name("conftest.py").read_text(encoding="utf-8").count("golden.plugin") == 0


@pytest.mark.parametrize(
    ("names", "kept"), [(["a,b", " c"], ["a", "b", "c"]), (["a", "a"], ["a"]), ([""], [""]), ([], [])]
)
def test_every_name_to_update_counts_and_an_empty_one_is_a_name(
    names: list[str], kept: list[str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "check_request", lambda *_arguments: None)
    words = [word for name in names for word in ("--golden-update", name)]
    assert plugin.GoldenSession(pytester.parseconfigure(*OPTIONS, *words)).names == kept
