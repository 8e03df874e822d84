"""Printed labels, and the class or average that each of them names."""

import pytest

from in4310repro.audit.document import Average, Measure
from in4310repro.audit.readers.subjects import parse_subject
from in4310repro.audit.readers.words import heading

ACCURACY, AP = Measure.ACCURACY, Measure.AVERAGE_PRECISION


@pytest.mark.parametrize(
    ("label", "measure", "name"),
    [
        ("Accuracy of   plane", ACCURACY, "plane"),
        ("Accuracy for class 3", ACCURACY, "3"),
        ("Accuracy for class: plane", ACCURACY, "plane"),
        ("Test Accuracy of  bird", ACCURACY, "bird"),
        ("AP for tvmonitor", AP, "tvmonitor"),
        ("The average precision score for class 2", AP, "2"),
        ("Class sea accuracy", ACCURACY, "sea"),
        ("Accuracy of sea on the test set", ACCURACY, "sea"),
        ("Accuracy of ice-cream van", ACCURACY, "ice-cream van"),
        ("Accuracy of snow_leopard (old)", ACCURACY, "snow_leopard (old)"),
        ("Accuracy of автомобиль", ACCURACY, "автомобиль"),
        ("Accuracy of test tube", ACCURACY, "test tube"),
        ("Recall (sea ice)", Measure.RECALL, "sea ice"),
        ("F1-score for class dune", Measure.F1, "dune"),
        ('Accuracy of class "mean"', ACCURACY, "mean"),
        ("Accuracy for class all", ACCURACY, "all"),
        ("train AP", AP, "train"),  # a class of VOC
    ],
)
def test_a_label_names_a_class(label: str, measure: Measure, name: str) -> None:
    found = parse_subject(label)
    assert found
    assert (found.measure, found.class_name, found.average) == (measure, name, None)


@pytest.mark.parametrize(
    ("label", "measure", "average"),
    [
        ("Mean accuracy over all classes", ACCURACY, Average.MACRO),
        ("Mean class accuracy", ACCURACY, Average.MACRO),
        ("Mean per-class accuracy", ACCURACY, Average.MACRO),
        ("The average precision score for all classes", AP, Average.MACRO),
        ("Mean AP", AP, Average.MACRO),
        ("mAP@0.5", AP, Average.MACRO),
        ("mAP.", AP, Average.MACRO),
        ("F1 (macro)", Measure.F1, Average.MACRO),
        ("Weighted F1-score", Measure.F1, Average.WEIGHTED),
        ("Micro recall", Measure.RECALL, Average.MICRO),
        ("Overall accuracy", ACCURACY, Average.OVERALL),
        ("Test accuracy", ACCURACY, Average.OVERALL),
        ("Accuracy of the network on the 10000 test images", ACCURACY, Average.OVERALL),
        ("Test Accuracy (Overall)", ACCURACY, Average.OVERALL),
        ("Mean accuracy", ACCURACY, Average.UNNAMED),
        ("Accuracy of all combined", ACCURACY, Average.UNNAMED),
        ("Accuracy of all classes", ACCURACY, Average.UNNAMED),
        ("Precision", Measure.PRECISION, None),
        ("Cohen's kappa", Measure.KAPPA, None),
        ("Balanced accuracy", Measure.BALANCED_ACCURACY, None),
        # Of images with several labels.
        ("Samples avg F1-score", Measure.OTHER, None),
        ("F1-score (samples avg)", Measure.OTHER, None),
        ("Samples avg F1-score (average)", Measure.OTHER, Average.UNNAMED),
    ],
)
def test_a_summary_is_averaged_as_its_label_says_and_no_further(
    label: str, measure: Measure, average: Average | None
) -> None:
    found = parse_subject(label)
    assert found
    assert (found.measure, found.class_name, found.average) == (measure, None, average)


def test_a_network_is_no_class() -> None:
    found = parse_subject("ResNet-50 accuracy")
    assert found
    assert (found.class_name, found.network) == (None, "ResNet-50")


def test_a_name_before_the_measure_is_unclear_until_others_stand_beside_it() -> None:
    found = parse_subject("bicycle AP")
    assert found
    assert not found.clear


def test_the_images_and_the_set_of_a_label_are_read() -> None:
    found = parse_subject("Test accuracy on 500 real radar samples")
    assert found
    assert (found.images, found.image_set) == (500, "test")


def test_a_label_with_a_typing_error_is_not_guessed() -> None:
    assert parse_subject("Acuracy for class 1") is None


@pytest.mark.parametrize(
    ("text", "threshold"), [("AP50", "50"), ("mAP@0.5", "50"), ("mAP@.50", "50"), ("mAP50-95", "50:95"), ("AP", "")]
)
def test_thresholds_of_average_precision_are_told_apart(text: str, threshold: str) -> None:
    assert heading(text).threshold == threshold


def test_average_precision_of_small_boxes_is_another_measure() -> None:
    assert heading("APs").measure is Measure.OTHER
