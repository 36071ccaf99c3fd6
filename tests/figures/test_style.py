from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from featx.errors import ResultFileError
from featx.figures.style import add_heading, house_style, place_axes, save_figure, shortened


def small_figure() -> Figure:
    with house_style():
        figure = Figure((2, 1))
        axes = place_axes(figure, 0.5, 0.3, 1, 0.5)
        axes.plot([0, 1], [0, 1])
        axes.set_title("$x_1$", loc="left")
        return figure


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes_at_any_time(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for second in ("0", "1000000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", second)  # What matplotlib takes for the time.
        files += save_figure(small_figure(), tmp_path / second, [form])

    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_users_own_settings_do_not_matter(tmp_path: Path) -> None:
    plain = save_figure(small_figure(), tmp_path / "a")
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "savefig.dpi": 10}):
        changed = save_figure(small_figure(), tmp_path / "b")

    for one, other in zip(plain, changed):
        assert one.read_bytes() == other.read_bytes()


def test_a_users_own_settings_are_back_after_an_error() -> None:
    with mpl.rc_context({"font.size": 20}):
        with pytest.raises(KeyError), house_style():
            raise KeyError
        assert mpl.rcParams["font.size"] == 20


def test_text_is_never_typeset() -> None:
    assert not small_figure().axes[0].title.get_parse_math()


def test_a_script_that_the_font_lacks_stops_nothing(tmp_path: Path) -> None:
    figure = small_figure()
    figure.text(0, 0, "日本")

    assert save_figure(figure, tmp_path / "a", ["png"])[0].stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a", ["a.png", "a.svg"]),
        ("a.png", ["a.png", "a.svg"]),
        ("a.PNG", ["a.PNG", "a.svg"]),
        ("resnet1.0", ["resnet1.0.png", "resnet1.0.svg"]),
    ],
)
def test_a_suffix_is_replaced_only_if_it_is_a_format(
    name: str, files: list[str], tmp_path: Path
) -> None:
    written = save_figure(small_figure(), tmp_path / "new" / name)

    assert [file.name for file in written] == files
    assert sorted((tmp_path / "new").iterdir()) == sorted(written)


def test_a_figure_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ResultFileError, match=r"Cannot write .*: (Not a directory|File exists)"):
        save_figure(small_figure(), tmp_path / "file" / "a")


def test_axes_are_placed_in_inches_whatever_the_size_of_the_figure() -> None:
    for size in ((2, 1), (7, 5)):
        figure = Figure(size, dpi=100)
        box = place_axes(figure, 0.5, 0.3, 1, 0.5).get_window_extent()
        assert box.bounds == pytest.approx((50, 30, 100, 50))


def test_a_heading_names_each_line_below_the_title() -> None:
    figure = Figure((7, 3), dpi=100)
    add_heading(figure, 0.5, "All of it", [("full", {"color": "red"}), ("head", {})])

    [legend], [title] = figure.legends, figure.texts
    assert [text.get_text() for text in legend.get_texts()] == ["full", "head"]
    assert legend.get_lines()[0].get_color() == "red"
    assert legend.get_window_extent().y1 <= title.get_window_extent().y0


@pytest.mark.parametrize("name", ["", " \n", "cat", "x" * 24, "x" * 25, "two\n lines"])
def test_a_shortened_name_is_one_line_that_fits(name: str) -> None:
    short = shortened(name)

    assert 0 < len(short) <= 24
    assert "\n" not in short
    assert short.endswith("…") == (len(name) > 24)
