"""Lines of label and value: their forms, repeated lists of classes, summaries, logs, and lines not understood."""

import pytest

from in4310repro.audit.document import Measure
from in4310repro.audit.readers import read
from tests.audit.made_up import original_text
from tests.audit.readers.described import classes, only, summaries

FORMS = {
    "colon": "Accuracy of  dune : 83 %\nAccuracy of lagoon : 91 %\nMean class accuracy: 87 %",
    "tutorial": "Accuracy for class: dune   is 83 %\nAccuracy for class: lagoon is 91 %\nMean class accuracy is 87 %",
    "equals and breaks": "Accuracy for dune = 83 %<br />\nAccuracy for lagoon = 91 %<br />\nMean class accuracy = 87 %",
    "dash": "Accuracy for class dune - 83 %\nAccuracy for class lagoon - 91 %\nMean class accuracy - 87 %",
    "bold bullets": "- **Class dune accuracy:** 83 %\n- **Class lagoon accuracy**: 91 %\n* Mean class accuracy: 87 %",
    "names under a heading": "Accuracy of each class:-\n  dune: 83 %\n  lagoon: 91 %\nMean class accuracy: 87 %",
    "names and spaces under a heading": "### Class-wise accuracy\n\ndune 83 %\nlagoon 91 %\n\n"
    "Mean class accuracy: 87 %",
    "empty lines between": "Accuracy of dune : 83 %\n\nAccuracy of lagoon : 91 %\n\nMean class accuracy : 87 %",
    "name first": "Class: dune, Accuracy: 83 %\nClass: lagoon, Accuracy: 91 %\nMean class accuracy: 87 %",
    "a logger's": (
        "2031-01-02 03:04:05,006 - run - INFO - Accuracy of dune: 83 %\n"
        "2031-01-02 03:04:05,007 - run - INFO - Accuracy of lagoon: 91 %\n"
        "2031-01-02 03:04:05,008 - run - INFO - Mean class accuracy: 87 %"
    ),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_the_same_values_are_read_from_every_form(text: str) -> None:
    table = only(text)
    assert {name: value.rstrip(" %") for name, value in classes(table).items()} == {"dune": "83", "lagoon": "91"}
    assert {name: value.rstrip(" %") for name, value in summaries(table).items()} == {"macro": "87"}
    assert all(value.printed.percent for value in table.values)


def test_the_original_has_four_tables_named_by_the_figures_that_close_them() -> None:
    tables = read(original_text()).tables
    assert [table.name for table in tables] == ["Figure 1", "Figure 2", "Figure 3", "Figure 4"]
    assert list(classes(tables[0]).values())[:2] == ["0.9956803455723542", "0.9834368530020704"]
    assert summaries(tables[3], Measure.AVERAGE_PRECISION) == {"macro": "0.9926138947380058"}


def test_counts_beside_percentages_are_kept_with_the_sizes_that_they_name() -> None:
    table = only(
        "Test Accuracy of dune: 83% (83/100)\nTest Accuracy of  sea: 75% (150/200)\n"
        "Test Accuracy (Overall): 77% (233/300)"
    )
    assert [value.count for value in table.values] == [(83, 100), (150, 200), (233, 300)]
    assert (table.sizes, table.total, table.image_set) == ({"dune": 100, "sea": 200}, 300, "test")
    assert only("Accuracy of 8 images: 249/300 (83%)").total == 300


def test_numbers_may_be_names_of_classes() -> None:
    table = only("Accuracy of            0 : 0.91\nAccuracy of           10 : 0.88\nAccuracy for class 2 0.25")
    assert classes(table) == {"0": "0.91", "10": "0.88", "2": "0.25"}


def test_names_before_the_measure_are_classes_where_three_stand_together() -> None:
    lines = ["dune AP = 0.61", "train AP = 0.72", "sea AP= 0.83", "mean AP = 0.72"]
    table = only("\n".join(lines))
    assert classes(table, Measure.AVERAGE_PRECISION) == {"dune": "0.61", "train": "0.72", "sea": "0.83"}
    assert classes(read("\n".join(lines[:1])).tables[0], Measure.AVERAGE_PRECISION) == {}


def test_a_class_that_is_called_train_is_no_image_set() -> None:
    table = only("AP for dune = 0.61\nAP for train = 0.72\nAP for sea = 0.83")
    assert "train" in classes(table, Measure.AVERAGE_PRECISION)
    assert "train" in classes(only("Accuracy of each class:\ndune: 0.61\ntrain: 0.72"))


def test_headings_that_name_image_sets_are_no_classes() -> None:
    text = "Train\nprecision: 0.9\nrecall: 0.8\nimages: 90\n\nTest\nprecision: 0.7\nrecall: 0.6\nimages: 50"
    assert [classes(table, Measure.PRECISION) for table in read(text).tables] == [{}] * 4


@pytest.mark.parametrize(("blank", "names"), [(2, ["sea", "ice", "fen"]), (3, [])])
def test_a_mean_up_to_three_lines_above_a_list_tells_its_measure(blank: int, names: list[str]) -> None:
    (table,) = read("Mean F1: 0.5\n" + "\n" * blank + "sea: 0.4\nice: 0.5\nfen: 0.6").tables
    assert list(classes(table, Measure.F1)) == names
    percentages = only("sea: 40 %\nice: 50 %\nfen: 60 %\nMean F1: 50 %")
    assert list(classes(percentages, Measure.F1)) == ["sea", "ice", "fen"]


def test_several_settings_on_a_line_below_a_heading_are_no_classes() -> None:
    table = only("Accuracy of each class:\ndune: 0.8\nbay: 0.9\nmomentum: 0.9, decay: 0.5")
    assert list(classes(table)) == ["dune", "bay"]


@pytest.mark.parametrize(("lines", "tables"), [(12, 1), (13, 2)])
def test_a_mean_that_is_a_heading_belongs_to_classes_up_to_twelve_lines_above(lines: int, tables: int) -> None:
    text = "Test accuracy of dune: 83 %\nTest accuracy of sea: 91 %"
    assert len(read(text + "\n" * lines + "# Mean class accuracy: 87 %").tables) == tables


def test_a_second_pass_over_the_classes_is_a_second_table() -> None:
    one = "Accuracy of dune: 0.8\nAccuracy of sea: 0.9\nMean class accuracy: 0.85\n"
    tables = read(one + one.replace("0.8", "0.7")).tables
    assert [classes(table)["dune"] for table in tables] == ["0.8", "0.7"]
    assert [len(summaries(table)) for table in tables] == [1, 1]


def test_a_summary_above_its_classes_belongs_to_the_classes_below() -> None:
    text = "Accuracy of the network on the 300 test images: {0} %\nAccuracy of dune: {0} %\nAccuracy of sea: {0} %\n"
    tables = read(text.format(71) + text.format(82)).tables
    assert [(summaries(table), table.total) for table in tables] == [
        ({"overall": "71 %"}, 300),
        ({"overall": "82 %"}, 300),
    ]


def test_a_name_that_stands_twice_is_kept_twice_and_named_as_unclear() -> None:
    document = read("Accuracy of dune: 71 %\nAccuracy of sea: 58 %\nAccuracy of sea: 81 %\nAccuracy of bay: 62 %")
    (table,) = document.tables
    assert len(table.values) == 4
    assert [(each.line, each.why) for each in document.unread] == [(3, "accuracy of class sea is in line 2, too")]


LOG = (
    "Epoch {0}: 100%|####| 30/30 [00:09<00:00, 3.1it/s] loss=0.{0}\n"
    "Test set: Average loss: 0.2, Accuracy: {0}00/1000 ({0}0%)\n"
)


def test_counts_that_a_log_prints_after_every_epoch_are_read_and_of_no_table_beside_them() -> None:
    text = LOG.format(1) + LOG.format(2) + LOG.format(3) + "Accuracy of dune: 83 %\nAccuracy of sea: 91 %"
    *epochs, table = sorted(read(text).tables, key=lambda each: each.first)
    assert [value.count for each in epochs for value in each.values] == [(100, 1000), (200, 1000), (300, 1000)]
    assert classes(table) == {"dune": "83 %", "sea": "91 %"}
    assert summaries(table) == {}


def test_of_the_classes_that_a_log_prints_after_every_epoch_the_last_count() -> None:
    block = "Accuracy of dune: 8{0} %\nAccuracy of sea: 9{0} %\n"
    tables = read("".join(LOG.format(epoch) + block.format(epoch) for epoch in range(1, 5))).tables
    (table,) = [each for each in tables if classes(each)]
    assert classes(table) == {"dune": "84 %", "sea": "94 %"}


@pytest.mark.parametrize(
    "line", ["Best test accuracy: 95 %", "Validation accuracy: 95 %", "VGG16 accuracy: 95 %", "Train accuracy: 95 %"]
)
def test_a_value_of_another_epoch_set_or_network_is_not_of_the_classes_beside_it(line: str) -> None:
    document = read(f"{line}\nAccuracy of dune: 83 %\nAccuracy of sea: 91 %")
    assert all(summaries(table) == {} for table in document.tables if classes(table))
    assert len(document.tables) == 2


UNREAD = {
    "typing error": "Acuracy for class 1: 0.9",
    "two values": "Accuracy of bay = 0.73 = 0.79",
    "no point": "Accuracy of bay = 0765456",
}


@pytest.mark.parametrize("line", UNREAD.values(), ids=UNREAD)
def test_a_line_that_looks_like_a_measurement_and_is_not_understood_is_named(line: str) -> None:
    (unread,) = read(f"Accuracy of sea: 0.75\n{line}").unread
    assert (unread.line, unread.text) == (2, line)


PROSE = [
    "Figure 7 shows 10 images for 2 classes: sea, forest.",
    "Number of classes: 2",
    "Learning rate: 0.001",
    "We train for 20 epochs with batches of 16 images and reach an accuracy that grows by 3.2 points with every "
    "1000 images.",
    "print(f'Accuracy of {name}: {100 * correct / total:.2f} %')",
    "| 3 | 4 |",
]


@pytest.mark.parametrize("line", PROSE)
def test_prose_code_and_other_numbers_are_passed_over(line: str) -> None:
    table = only(f"{line}\n\nAccuracy of sea: 0.75\nAccuracy of bay: 0.85\n\n{line}")
    assert classes(table) == {"sea": "0.75", "bay": "0.85"}


def test_two_means_at_two_thresholds_are_not_both_of_the_classes() -> None:
    document = read("AP for dune = 0.81\nAP for sea = 0.71\nmAP@0.5 = 0.76\nmAP@0.5:0.95 = 0.51")
    assert summaries(document.tables[0], Measure.AVERAGE_PRECISION) == {"macro": "0.76"}


def test_nothing_understood_is_an_error_that_says_what_is_valid() -> None:
    with pytest.raises(ValueError, match=r"no printed result was understood; .*lines such as 'Accuracy of sea: 83 %'"):
        read("A report without numbers.")


def test_a_sentence_with_two_values_in_brackets_gives_no_overall_accuracy() -> None:
    sentence = "The network reaches an accuracy of 93.2% on the test set, "
    sentence += "and the class accuracies are 91% (dune) and 95% (bay)."
    table = only(f"{sentence}\n\nAccuracy of sea: 0.75\nAccuracy of bay: 0.85")
    assert summaries(table) == {}


def test_a_class_accuracy_without_a_class_is_some_mean() -> None:
    (table,) = read("Class accuracy: 0.893").tables
    assert summaries(table) == {"unnamed": "0.893"}


def test_several_measures_of_a_class_stand_on_one_line() -> None:
    table = only("- **Dune**: precision 0.91, recall 0.88\n- **Bay**: precision 0.87, recall 0.90")
    assert classes(table, Measure.PRECISION) == {"Dune": "0.91", "Bay": "0.87"}
    assert classes(table, Measure.RECALL) == {"Dune": "0.88", "Bay": "0.90"}
    (table,) = read("Accuracy of sea: 0.90  Accuracy of ice: 0.80 recall: 0.70").tables
    assert "sea" not in classes(table, Measure.RECALL)
