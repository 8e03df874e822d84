"""Tables: classes in rows or columns, several networks, sizes and counts, and rows that are not classes."""

import pytest

from in4310repro.audit.document import Measure
from in4310repro.audit.readers import read
from tests.audit.readers.described import classes, only, summaries

TABLES = {
    "Markdown": "| Class | Accuracy |\n|---|---:|\n| dune | **0.83** |\n| bay | 0.91 |\n| Macro avg | 0.87 |",
    "no outer bars": "Class | Accuracy\n---|---\ndune | 0.83\n[bay](https://bay.example) | 0.91\n**Macro avg** | 0.87",
    "drawn": "+-------+----------+\n| Class | Accuracy |\n+-------+----------+\n| dune  | 0.83     |\n"
    "| bay   | 0.91     |\n"
    "+-------+----------+\n| Macro avg | 0.87 |\n+-------+----------+",
    "by column": "| Metric | dune | bay | Macro avg |\n|---|---|---|---|\n| Accuracy | 0.83 | 0.91 | 0.87 |",
    "by column with precision, recall and F1": "| Class | dune | bay | Macro avg |\n|---|---|---|---|\n"
    "| Precision | 0.8 | 0.9 | 0.85 |\n| Recall | 0.83 | 0.91 | 0.87 |\n| F1 | 0.81 | 0.9 | 0.86 |\n"
    "| Accuracy | 0.83 | 0.91 | 0.87 |\n| Support | 100 | 200 | 300 |",
    "numbers of classes": "| Class | Class ID | Accuracy |\n|---|---|---|\n| dune | 0 | 0.83 |\n| bay | 1 | 0.91 |\n"
    "| Macro avg | | 0.87 |",
    "a row of two lines": "Class      Accuracy  Notes\n=========  ========  =====\ndune       0.83      sand\n"
    "bay        0.91      warm\n                     water\nMacro avg  0.87      -",
    "networks in rows": "Accuracy by class\n\n| Model | dune | bay | Macro avg |\n|---|---|---|---|\n"
    "| ours | 0.83 | 0.91 | 0.87 |",
    "spaces": "Class        Images   Accuracy\ndune            100       0.83\nbay             200       0.91\n"
    "Macro avg                 0.87",
    "comma": "class,accuracy,support\ndune,0.83,100\nbay,0.91,200\nmacro avg,0.87,300",
    "semicolon": "Class;Accuracy;Samples\ndune;0.83;100\nbay;0.91;200\nMacro avg;0.87;300",
    "tab": "Class\tAccuracy\ndune\t0.83\nbay\t0.91\nMacro avg\t0.87",
    "wide": "model,split,Acc_dune,Acc_bay,macro_acc\nours,test,0.83,0.91,0.87",
    "HTML": "<table><tr><th>Class</th><th>Accuracy</th></tr><tr><td>dune</td><td>0.83</td></tr>"
    "<tr><td>bay</td><td><b>0.91</b></td></tr><tr><td>Macro avg</td><td>0.87</td></tr></table>",
    "HTML with a title in its first row": "<table><tr><th colspan=4>Accuracy by class<tr><th>Model<th>dune<th>bay"
    "<th>Macro avg<tr><td>ours<td>0.83<td>0.91<td>0.87</table>",
    "list-table": ".. list-table::\n   :header-rows: 1\n\n   * - Class\n     - Accuracy\n   * - dune\n     - 0.83\n"
    "   * - bay\n     - 0.91\n   * - Macro\n       avg\n     - 0.87",
    "reST with a header of two lines": "+-----------+----------+\n| Class     | Accuracy |\n| name      |          |\n"
    "+===========+==========+\n| dune      | 0.83     |\n+-----------+----------+\n| bay       | 0.91     |\n"
    "+-----------+----------+\n| Macro avg | 0.87     |\n+-----------+----------+",
    "LaTeX without a brace": "\\begin{tabular}{lc\nClass & Accuracy \\\\\ndune & 0.83 \\\\\nbay & 0.91 \\\\\n"
    "Macro avg & 0.87\n\\end{tabular}",
    "LaTeX": "\\begin{tabular}{lc}\n\\toprule\nClass & Accuracy \\\\\n\\midrule\ndune & \\textbf{0.83} \\\\\n"
    "bay & 0.91 \\\\\n"
    "\\midrule\nMacro avg & 0.87 \\\\\n\\bottomrule\n\\end{tabular}",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_the_same_values_are_read_from_every_table(text: str) -> None:
    table = only(text)
    assert classes(table) == {"dune": "0.83", "bay": "0.91"}
    assert summaries(table) == {"macro": "0.87"}


def test_a_caption_that_goes_on_below_names_the_measure_with_its_last_letter() -> None:
    (table,) = read(
        "\\begin{table}\n\\caption{Per-class accuracy\nof the net.}\n\\begin{tabular}{lc}\nClass & ResNet \\\\\n"
        "dune & 0.83 \\\\\nbay & 0.91 \\\\\n\\end{tabular}\n\\end{table}"
    ).tables
    assert classes(table, Measure.ACCURACY) == {"dune": "0.83", "bay": "0.91"}


def test_a_value_keeps_the_line_that_it_stands_on_in_either_direction() -> None:
    rows = only(TABLES["Markdown"]).values
    columns = only(TABLES["by column"]).values
    assert [value.printed.line for value in rows] == [3, 4, 5]
    assert [value.printed.line for value in columns] == [3, 3, 3]


@pytest.mark.parametrize(
    ("label", "average"),
    [
        ("mean", "unnamed"),
        ("Average", "unnamed"),
        ("all", "unnamed"),
        ("Overall", "overall"),
        ("Total", "overall"),
        ("macro avg", "macro"),
        ("mean over all classes", "macro"),
        ("weighted avg", "weighted"),
        ("micro avg", "micro"),
        ("accuracy", "overall"),
        ("OA (%)", "overall"),
        ("AA (%)", "macro"),
    ],
)
def test_a_summary_row_is_no_class(label: str, average: str) -> None:
    table = only(f"| Class | Accuracy |\n|---|---|\n| dune | 0.83 |\n| bay | 0.91 |\n| {label} | 0.87 |")
    assert list(classes(table)) == ["dune", "bay"]
    assert list(summaries(table)) == [average]


@pytest.mark.parametrize(
    ("label", "support", "is_class"),
    # The mean of 10 and 30 is 20.
    [("mean", "20", False), ("mean", "25", True), ("acc", "20", True), ("geo", "20", True), ("AUC", "", False)],
)
def test_the_support_of_a_row_tells_whether_it_is_a_class_with_the_name_of_a_score(
    label: str, support: str, is_class: bool
) -> None:
    rows = f"| dune | 0.80 | 10 |\n| bay | 0.90 | 30 |\n| {label} | 0.85 | {support} |"
    names = list(classes(only(f"| Class | Recall | Support |\n|---|---|---|\n{rows}"), Measure.RECALL))
    assert names == ["dune", "bay", *[label] * is_class]


@pytest.mark.parametrize(("row", "total"), [("accuracy 0.87 300", 300), ("accuracy 0.87", None)])
def test_the_accuracy_of_a_report_stands_with_or_without_a_support(row: str, total: int | None) -> None:
    table = only(f"class precision recall support\ndune 0.80 0.90 100\nbay 0.90 0.85 200\n{row}")
    assert (summaries(table), table.total) == ({"overall": "0.87"}, total)


def test_codes_of_two_letters_are_classes_even_where_they_look_like_averages() -> None:
    rows = "".join(f"| {code} | 0.8{number} |\n" for number, code in enumerate(("AP", "AA", "OA", "BD", "PN")))
    assert list(classes(only(f"| Class | Recall |\n|---|---|\n{rows}"), Measure.RECALL)) == [
        "AP",
        "AA",
        "OA",
        "BD",
        "PN",
    ]


def test_sizes_and_counts_of_columns_are_used() -> None:
    table = only(
        "| Class | Correct | Samples | Accuracy |\n|---|---|---|---|\n| dune | 2,009 | 2,421 | 83.0% |\n"
        "| bay | 9 | 10 | 90% |"
    )
    assert table.sizes == {"dune": 2421, "bay": 10}
    assert [value.count for value in table.values] == [(2009, 2421), (9, 10)]


def test_counts_in_cells_are_used() -> None:
    table = only(
        "| Class | Accuracy |\n|---|---|\n| dune | 95.3% (286/300) |\n| bay | 90.0% (90/100) |\n"
        "| Total | 94.0% (376/400) |"
    )
    assert table.sizes == {"dune": 300, "bay": 100}
    assert classes(table) == {"dune": "95.3%", "bay": "90.0%"}


def test_a_size_of_the_training_set_is_no_size_of_the_values() -> None:
    assert (
        only("| Class | Train images | Accuracy |\n|---|---|---|\n| dune | 900 | 0.83 |\n| bay | 700 | 0.91 |").sizes
        == {}
    )


def test_each_network_of_a_table_with_two_header_rows_is_a_table() -> None:
    text = (
        "Categories | CNN | ViT | |\n---|---|---|---|---\nPn | Rc | Pn | Rc |\ndune | .8 | .7 | .9 | .6 |\n"
        "bay | .7 | .6 | .5 | .4 |\n"
    )
    tables = read(text + "Mean | .75 | .65 | .7 | .5 |").tables
    assert [table.name for table in tables] == ["CNN", "ViT"]
    assert classes(tables[1], Measure.PRECISION) == {"dune": ".9", "bay": ".5"}
    assert summaries(tables[1], Measure.RECALL) == {"unnamed": ".5"}


def test_multirow_and_multicolumn_name_the_networks_of_a_latex_table() -> None:
    text = r"""\begin{table}\caption{Test set.}
\begin{tabular}{lcc|cc}
\multirow{2}{*}{Class} & \multicolumn{2}{c}{CNN} & \multicolumn{2}{c}{ViT} \\ \cmidrule(lr){2-3}
 & Precision & Recall & Precision & Recall \\ \hline
Lake view & 91.2\% & \textbf{93.4\%} & 90.0\% & $88.1_{\pm 0.2}$ \\
Dune & 81.2\% & 83.4\% & 80.0\% & 78.1 \\
Average & 86.2\% & 88.4\% & 85.0\% & 83.1 \\
\end{tabular}\end{table}"""
    tables = read(text).tables
    assert len(tables) == 2
    assert classes(tables[0], Measure.RECALL) == {"Lake view": "93.4%", "Dune": "83.4%"}
    assert summaries(tables[1], Measure.PRECISION) == {"unnamed": "85.0%"}
    spreads = [value.spread.text for table in tables for value in table.values if value.spread]
    assert spreads == ["0.2"]


def test_networks_in_columns_take_the_measure_from_the_row_of_the_mean() -> None:
    tables = read(
        "| Class | A1 | B2 |\n|---|---|---|\n| dune | 61.2 | 70.1 |\n| bay | 71.2 | 80.1 |\n| mAP | 66.2 | 75.1 |"
    ).tables
    assert [summaries(table, Measure.AVERAGE_PRECISION) for table in tables] == [{"macro": "66.2"}, {"macro": "75.1"}]
    assert all(value.printed.percent for table in tables for value in table.values)


def test_three_pairs_in_a_row_are_one_table() -> None:
    text = "| category | AP | category | AP |\n|:--|:--|:--|:--|\n| dune | 45.0 | bay | 41.0 |\n| sea | 38.7 | | |"
    assert classes(only(text), Measure.AVERAGE_PRECISION) == {"dune": "45.0", "bay": "41.0", "sea": "38.7"}


def test_missing_cells_have_no_value() -> None:
    table = only("| Class | Accuracy |\n|---|---|\n| dune | 0.83 |\n| bay | n/a |\n| sea | - |\n| ice | nan |")
    assert classes(table) == {"dune": "0.83"}


def test_a_mean_over_seeds_keeps_its_spread() -> None:
    table = only("| Class | Accuracy |\n|---|---|\n| dune | 93.2 ± 0.4 |\n| bay | 83.2 (0.5) |")
    assert [value.spread and value.spread.text for value in table.values] == ["0.4", "0.5"]


def test_percentages_by_their_size_need_no_sign_and_shares_stay_shares() -> None:
    percent = only("| Class | Accuracy |\n|---|---|\n| dune | 93.2 |\n| bay | 100 |\n| mean | 0.966 |")
    assert [value.printed.percent for value in percent.values] == [True, True, False]
    shares = only("| Class | Accuracy |\n|---|---|\n| dune | 0.932 |\n| bay | 1 |")
    assert [value.printed.percent for value in shares.values] == [False, False]


def test_networks_and_folds_and_epochs_in_rows_are_no_classes() -> None:
    for heading in ("Model", "Fold", "Data set", "Epoch"):
        text = f"| {heading} | Test accuracy |\n|---|---|\n| 1 | 0.83 |\n| 2 | 0.91 |\n\nAccuracy of sea: 0.7"
        assert [list(classes(table)) for table in read(text).tables if classes(table)] == [["sea"]]


def test_an_overall_value_in_a_table_above_belongs_to_the_classes_below() -> None:
    overall = "| Metric | Value |\n|---|---|\n| Test Accuracy | 94.1% |\n| Best Validation Accuracy | 94.8% |\n\n"
    tables = read(overall + "**Per-class accuracy:**\n\n" + TABLES["Markdown"]).tables
    assert [table.image_set for table in tables] == ["test", "val"]
    assert summaries(tables[0]) == {"macro": "0.87", "overall": "94.1%"}
    best = read(f"| Metric | Value |\n|---|---|\n| Best accuracy | 94.8% |\n\n{TABLES['Markdown']}")
    assert [list(summaries(table)) for table in best.tables] == [["overall"], ["macro"]]
    train = "| Metric | Value |\n|---|---|\n| Train accuracy | 99% |"
    below = read(f"{TABLES['Markdown']}\n\n{train}\n\nTest accuracy: 87 %")
    assert [list(summaries(table)) for table in below.tables] == [["macro", "overall"], ["overall"]]


def test_values_of_the_weakest_classes_are_a_part_and_no_mean_is_of_them() -> None:
    text = (
        "Mean per-class accuracy: 85.8 %\n\n| Weakest classes | Accuracy |\n|---|---|\n| dune | 56.0% |\n"
        "| bay | 58.0% |"
    )
    tables = read(text).tables
    assert [table.partial for table in tables if classes(table)] == [True]
    assert all(not summaries(table) for table in tables if classes(table))
    assert only("| Class | Accuracy |\n|---|---|\n| dune | 0.83 |\n| ... | |\n| bay | 0.91 |").partial


def test_a_heading_parts_a_table_from_what_is_below_the_heading_alone() -> None:
    matrix = "[[83 17]\n [9 91]]"
    parted = (
        read(f"{TABLES['Markdown']}\n\n{heading}{matrix}") for heading in ("# ResNet\n", "# Part 2\n# ResNet\n", "")
    )
    assert [len(document.tables) for document in parted] == [2, 2, 1]
    assert "overall" in summaries(only(f"{TABLES['Markdown']}\n\nOverall accuracy: 0.87\n# ResNet"))
    numbered = "#,Class,Accuracy\n1,dune,0.83\n2,bay,0.91"
    assert [len(read(f"{above}\n\n{numbered}").tables) for above in (matrix, "Overall accuracy: 0.87")] == [1, 1]


@pytest.mark.parametrize("text", ["{values}{space}{caption}", "{caption}{space}{values}"], ids=["below", "above"])
def test_a_caption_up_to_four_lines_away_names_the_values_of_lines(text: str) -> None:
    for space, named in (("\n" * 4, True), ("\n" * 5, False)):
        values = "Accuracy of dune: 0.83\nAccuracy of bay: 0.91"
        assert (only(text.format(values=values, space=space, caption="Table 2: ours")).name == "Table 2") is named


def test_a_table_of_asciidoc_ends_within_a_thousand_lines() -> None:
    for blanks, ends in ((997, True), (998, False)):
        text = "|===\n|Class |Accuracy\n|dune |0.83\n" + "\n" * blanks + "|===\n\nAccuracy of sea: 0.7"
        assert ("AsciiDoc table" in read(text).formats) is ends


def test_ranks_in_a_table_without_a_header_are_no_classes() -> None:
    table = "<table><tr><td>1<td>dune<td>0.9<tr><td>2<td>bay<td>0.8</table>"
    tables = read(f"Accuracy by class\n\n{table}\n\nAccuracy of sea: 0.7").tables
    assert all("1" not in classes(table) for table in tables)


def test_values_of_boxes_are_not_of_whole_images() -> None:
    table = only(
        "| class | gts | dets | recall | ap |\n|---|---|---|---|---|\n| dune | 90 | 4221 | 0.9 | 0.8 |\n"
        "| mAP | | | | 0.8 |"
    )
    assert not table.whole_images
    assert only(TABLES["Markdown"]).whole_images


def test_a_detectors_table_of_spaces_has_its_all_row_as_the_mean() -> None:
    text = "   Class  Images  Instances  Box(P      R  mAP50  mAP50-95): 100%|##| 2/2 [00:01]\n"
    text += "     all     40   120   0.856  0.789  0.832  0.545\nblue dune     40    45   0.883  0.822  0.871  0.592\n"
    tables = read(text).tables
    assert [list(classes(table, Measure.AVERAGE_PRECISION)) for table in tables] == [["blue dune"], ["blue dune"]]
    assert [summaries(table, Measure.AVERAGE_PRECISION) for table in tables] == [{"macro": "0.832"}, {"macro": "0.545"}]
    assert tables[0].sizes == {"blue dune": 45}


def test_a_row_with_values_and_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line 1, '\| Class \| .*': line 4: a row with values .*empty class name"):
        read("| Class | Accuracy |\n|---|---|\n| dune | 0.83 |\n| | 0.91 |")


def test_a_cell_that_is_no_value_is_named() -> None:
    (unread,) = read("| Class | Accuracy |\n|---|---|\n| dune | 0.83 |\n| bay | 0.9x |").unread
    assert (unread.line, unread.text) == (4, "0.9x")


def test_numbers_of_images_of_each_set_are_no_accuracies_of_networks() -> None:
    text = "Class accuracy (%)\n\n| Class | Train | Test | A1 | B2 |\n|---|---|---|---|---|\n"
    tables = read(
        text + "| dune | 5 | 41 | 68.3 | 92.7 |\n| bay | 143 | 1285 | 80.1 | 95.2 |\n| OA | - | - | 79.8 | 95.1 |"
    ).tables
    assert [list(classes(table).values()) for table in tables] == [["68.3", "80.1"], ["92.7", "95.2"]]
    assert [table.sizes for table in tables] == [{"dune": 41, "bay": 1285}] * 2


def test_counts_in_a_column_of_samples_are_counts() -> None:
    table = only(
        "| Class | Accuracy | Samples |\n|---|---|---|\n| dune | 82.20% | 1,935/2,354 |\n| bay | 59.61% ⚠️ | 431/723 |"
    )
    assert [value.count for value in table.values] == [(1935, 2354), (431, 723)]


def test_an_approximate_value_is_named_and_not_held_to_its_digits() -> None:
    document = read("| Class | Accuracy |\n|---|---|\n| dune | ~95% |\n| bay | 91.0% |")
    assert classes(document.tables[0]) == {"bay": "91.0%"}
    assert [unread.line for unread in document.unread] == [3]
