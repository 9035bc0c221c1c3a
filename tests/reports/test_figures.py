import numpy as np
import pytest
from matplotlib.figure import Figure
from support.records import a_run

from lrdecay.analysis.groups import group_records
from lrdecay.reports import figures
from lrdecay.reports.figures import COLOURS, MARKERS, comparison_figure
from lrdecay.reports.rates import rate_figure


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are drawn, laid out as in the file."""
    kept: list[Figure] = []

    def keep(figure: Figure, form: str) -> bytes:
        figure.savefig("/dev/null", format="png", dpi=50)
        kept.append(figure)
        return b""

    monkeypatch.setattr(figures, "_file", keep)
    return kept


def test_is_a_png():
    assert rate_figure([(0, 0.1), (1, 0.05)], 1, "step").startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 2, 12, 15])
@pytest.mark.parametrize("key", ["gamma", "a_key_with_a_name_that_takes_very_much_room_in_the_legend_of_the_figure"])
def test_the_legend_fits_into_the_figure(drawn, count, key):
    (groups,) = group_records([a_run(seed=s, **{key: g / 100}) for g in range(count) for s in (1, 2)]).values()
    comparison_figure(groups, "title")
    (figure,) = drawn
    (legend,) = figure.legends
    assert len(legend.get_texts()) == count
    room, taken = figure.bbox, legend.get_window_extent()
    assert room.x0 <= taken.x0
    assert taken.x1 <= room.x1
    assert room.y0 <= taken.y0
    assert all(axes.get_window_extent().height > 100 for axes in figure.axes)


@pytest.mark.parametrize(("columns", "width"), [(1, 3.35), (2, 6.9)])
def test_fits_the_columns_of_a_paper(drawn, columns, width):
    (groups,) = group_records([a_run(), a_run("cosine"), a_run("exponential"), a_run("constant")]).values()
    comparison_figure(groups, "title", columns=columns)
    (figure,) = drawn
    assert figure.get_figwidth() == width
    assert all(axes.get_tightbbox().x1 <= figure.bbox.x1 + 1 for axes in figure.axes)
    assert all(axes.get_window_extent().height > 40 for axes in figure.axes)
    assert not figure.get_suptitle()


def test_fonts_are_in_the_file_and_the_file_is_the_same_again():
    (groups,) = group_records([a_run(), a_run("cosine")]).values()
    pdf, svg = (comparison_figure(groups, "title", form, 1) for form in ("pdf", "svg"))
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf  # an embedded TrueType font
    assert b"/Type3" not in pdf
    assert b"<text" not in svg  # outlines, which need no font
    assert (pdf, svg) == tuple(comparison_figure(groups, "title", form, 1) for form in ("pdf", "svg"))


def test_groups_differ_in_colour_or_marker():
    assert len(set(COLOURS)) == 12
    styles = [(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i in range(100)]
    assert len(set(styles)) == 100


def test_train_is_dashed_and_validation_solid_in_one_colour(drawn):
    (groups,) = group_records([a_run(), a_run("cosine")]).values()
    comparison_figure(groups, "title")
    loss, accuracy, rates = drawn[0].axes
    for axes in (loss, accuracy):
        assert [line.get_linestyle() for line in axes.get_lines()] == ["--", "-", "--", "-"]
        train, validation = axes.get_lines()[:2]
        assert train.get_color() == validation.get_color() == COLOURS[0]
    assert len(rates.get_lines()) == 2
    assert 1 < accuracy.get_ylim()[1] + 0.2 < 1.25


def test_an_epoch_without_validation_leaves_no_gap(drawn):
    run = a_run(epochs=4)
    for epoch in run.progress.epochs[::2]:
        del epoch["val/acc"], epoch["val/loss"]
    (groups,) = group_records([run]).values()
    comparison_figure(groups, "title")
    _, validation = drawn[0].axes[0].get_lines()
    assert validation.get_xdata().tolist() == [2, 4]
    assert np.isfinite(validation.get_ydata()).all()


def test_a_group_without_a_completed_run_is_in_the_legend(drawn):
    (groups,) = group_records([a_run(), a_run("cosine", status="failed")]).values()
    comparison_figure(groups, "title")
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["step", "cosine"]
