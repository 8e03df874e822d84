import re

from in4310repro.report.markup import draw_growth
from in4310repro.trace.comparison import Growth

GROWTH = (
    Growth(3, 4, 0, (1.0, 1.0), 0, 0.0),
    Growth(4, 4, 2, None, None, 1e-5),
    Growth(5, 0, 0, (1.0, 1.0 + 1e-12), 1, 1.0),
)


def test_each_point_of_a_growth_stands_at_the_signs_of_its_step_and_of_its_value() -> None:
    lines, places = [], []
    for panel in draw_growth(GROWTH).split("<svg ")[2:]:
        texts = re.findall(r'<text x="([^"]+)" y="([^"]+)" text-anchor="(middle|end)" class="tick">([^<]+)<', panel)
        places.append(
            ({word: float(x) for x, _, side, word in texts if side == "middle"},
             {word: float(y) - 4 for _, y, side, word in texts if side == "end"})
        )  # fmt: skip
        lines += [
            [tuple(map(float, point.split())) for point in re.split("[ML]", drawn)[1:]]
            for drawn in re.findall(r'<path d="([^"]+)" class="l', panel)
        ]
        ((left, right),) = re.findall(r'<line x1="(\d+)" y1="\d+" x2="(\d+)" y2="\d+" class="axis">', panel)[-1:]
        (height,) = re.findall(r'^[^>]* height="(\d+)">', panel)
        # The lowest text is the title of the steps.
        assert float(height) - 5 == max(map(float, re.findall(r'<text x="\d+" y="(\d+)"', panel)))
        assert places[-1][0]["3"] - float(left) == float(right) - places[-1][0]["5"] > 0
    (x, powers), (_, shares) = places
    loss, parameters, share = lines
    # Both panels are of one height, and all or none of the tensors are at its ends.
    assert (shares["0"], shares["1"]) == (powers["0"], powers["1e0"])
    # A difference below 1e-10 is drawn as none; 1e-5 is halfway from there to 1.
    assert loss == [(x["3"], powers["0"]), (x["5"], powers["0"])]
    assert parameters == [(x["3"], powers["0"]), (x["4"], (powers["0"] + powers["1e0"]) / 2), (x["5"], powers["1e0"])]
    assert share == [(x["3"], shares["0"]), (x["4"], shares["0.5"]), (x["5"], shares["0"])]
