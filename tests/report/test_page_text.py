from __future__ import annotations

import shlex

import numpy as np
import pytest

from featx.report.page_text import (
    clean,
    column_label,
    command_line,
    number,
    plot_label,
    short_path,
    words,
)

ODD = "a\x00\x07\x7f\udce9"


def test_clean_text_can_be_written_and_is_left_alone_after_that() -> None:
    text = clean(ODD)

    assert text.encode("utf-8") == rb"a\x00\x07\x7f\udce9"
    assert clean(text) == text


def test_letters_of_all_scripts_tabs_and_lines_are_kept() -> None:
    text = "Ångström 日本 🐝\tone\ntwo"

    assert clean(text) == text


@pytest.mark.parametrize("text", ["$$x$$", "$$$", r"\(x\)", r"\[x\]", r"5 $ and \n"])
def test_a_plot_label_reads_the_same_but_is_never_tex(text: str) -> None:
    label = plot_label(text)

    assert not any(sign in label for sign in ("$$", r"\(", r"\["))
    assert label.replace("\u2060", "") == text


def test_a_number_reads_back_as_itself() -> None:
    for value in np.random.default_rng(0).choice([-1, 1], 200) * np.logspace(-6, 6, 200):
        read = float(number(float(value)).replace("−", "-").replace(",", ""))
        assert read != 0
        assert abs(read - value) <= max(5e-4, 0.005 * abs(value))


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.0, "0"), (-12345, "−12,345")])
def test_whole_numbers_have_no_decimals(value: float, text: str) -> None:
    assert number(value) == text


def test_settings_that_are_not_set_are_left_out_at_every_depth() -> None:
    settings = {"size_px": 64, "mean": None, "crop": {"side": (3, 4), "pad": None}}

    assert words(settings) == "size px 64 · crop side 3, 4"


@pytest.mark.parametrize("path", ["a/b/ants/7.jpg", r"C:\a\ants\7.jpg", "ants/7.jpg"])
def test_a_short_path_is_class_and_file(path: str) -> None:
    assert short_path(path) == "ants/7.jpg"


def test_a_command_line_is_what_a_shell_takes_for_the_same_words() -> None:
    command = [r"C:\bin\featx", "depth", "my photos", "it's", "$HOME", ""]

    line = command_line({"command": command})

    assert line is not None
    assert shlex.split(line) == ["featx", *command[1:]]
    assert command_line({}) is command_line({"command": []}) is None


def test_a_column_of_a_stranger_is_fit_for_a_page() -> None:
    column_label(ODD).encode("utf-8")
