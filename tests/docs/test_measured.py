"""Tables of measurements on pages agree with their committed files."""

from benchmarks import kernel_errors, portability, processes_page
from benchmarks.portability import CONTROL, EIGENVALUES
from in4310repro.system.files import read_json
from tests.docs import claims

TOLERANCE = 1e-12  # of the largest eigenvalue


def test_the_table_of_processors_is_what_its_file_gives() -> None:
    numbers, text = read_json(portability.NUMBERS), portability.PAGE.read_text(encoding="utf-8")
    assert portability.with_table(text, numbers) == text
    assert portability.with_table(text.replace("18 of 18", "17 of 18"), numbers) == text


def test_every_stage_has_equal_bits_at_every_place_and_the_control_has_not() -> None:
    places = read_json(portability.NUMBERS)["places"].values()
    for stage in next(iter(places))["stages"]:
        assert (len({place["stages"][stage] for place in places}) == 1) == (stage != CONTROL), stage
    assert all(place[EIGENVALUES] <= TOLERANCE for place in places)


def test_the_page_of_bits_names_every_network_of_the_bench_that_is_slower_than_torch() -> None:
    bench = claims.ROOT / "reports/bench/arithmetic.json"
    slower = sorted(row["ratio"] for row in read_json(bench)["networks"] if row["ratio"] > 1)
    mine = [each for each in claims.read()["claim"] if "docs/bits.md" in each["pages"]]
    assert slower == sorted(value for each in mine for value in claims.values_of(each) if value > 1)


def test_the_tables_of_kernel_errors_are_what_their_file_gives() -> None:
    numbers, text = read_json(kernel_errors.NUMBERS), kernel_errors.PAGE.read_text(encoding="utf-8")
    assert kernel_errors.with_tables(text, numbers) == text
    assert kernel_errors.with_tables(text.replace("0/800", "1/800"), numbers) == text


def test_the_comparison_of_several_processes_on_the_page_is_what_its_file_gives() -> None:
    numbers, text = read_json(processes_page.NUMBERS), processes_page.PAGE.read_text(encoding="utf-8")
    assert processes_page.with_tables(text, numbers) == text
    assert processes_page.with_tables(text.replace("differs: 0", "differs: 1"), numbers) == text
    for row in numbers["shares"]["rows"]:
        assert len(set(row["sha256"].values())) == 1
        assert (row["control"] in row["sha256"].values()) == (row["batch"] <= 8)
