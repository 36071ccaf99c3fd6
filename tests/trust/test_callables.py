"""What a file names is imported only if the user trusts it: every attack leaves a sentinel file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file
from sklearn.pipeline import make_pipeline

from featx import CNNFeatures, FineTunedClassifier, extract, list_layers, load_dataset, predict
from featx.cli import main
from featx.engine.persistence import load_extractor, save_extractor, save_pipeline
from featx.errors import ModelError
from featx.evaluation.linear_probe import LinearProbe
from featx.evaluation.split_scores import probe_classes
from featx.networks.sources.finding import find_source
from featx.trust.callables import check_trusted

NAME = "foreign_code:small"
SAMPLES = Path("data/samples").resolve()
DIGITS = ["digits", "-q", "--no-store"]


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """File that appears as soon as the module ``foreign_code`` is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign_code.py").write_text(
        "import pathlib\nfrom torch import nn\npathlib.Path('executed').touch()\n"
        "def small():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(),"
        " nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "executed"
    sys.modules.pop("foreign_code", None)


@pytest.fixture
def digits() -> Any:
    return load_dataset("digits").take(range(0, 40))


@pytest.fixture
def folder(sentinel: Path, tmp_path: Path) -> Path:
    """A fine-tuned folder whose card names code, as it would come from somebody else."""
    folder = tmp_path / "mine"
    folder.mkdir()
    how = {"resize": 16, "crop": 16}
    card = {"model": NAME, "classes": ["a", "b"], "n_classes": 2, "preprocessing": how}
    (folder / "model.json").write_text(json.dumps(card))
    source = find_source(str(folder), trust=NAME)
    network = source.build(source.weights("random"))
    save_file(network.state_dict(), folder / "weights.safetensors")
    forget(sentinel)
    return folder


@pytest.fixture
def saved(sentinel: Path, tmp_path: Path) -> Path:
    """An extractor's file that names code."""
    return save_extractor(CNNFeatures(NAME, "1", size=16), tmp_path / "x.skops")


@pytest.fixture
def probe(sentinel: Path, digits: Any, tmp_path: Path) -> Path:
    """A probe's file that names code."""
    pipeline = make_pipeline(CNNFeatures(NAME, "1", size=16), LinearProbe(C=1.0))
    pipeline.fit(digits.images, digits.labels)
    path = save_pipeline(pipeline, tmp_path / "probe.skops", classes=probe_classes())
    forget(sentinel)
    return path


def forget(sentinel: Path) -> None:
    """As if the code had never been imported."""
    sys.modules.pop("foreign_code", None)
    sentinel.unlink(missing_ok=True)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["featx", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0


@pytest.mark.parametrize(
    ("command", "trusted"),
    [
        (["predict", "mine", *DIGITS], "mine"),
        (["predict", "mine", *DIGITS], NAME),
        (["predict", "probe.skops", *DIGITS], "probe.skops"),
        (["extract", *DIGITS, "-e", "x.skops", "-o", "x.npz"], "x.skops"),
        (["extract", *DIGITS, "-e", "cnn:mine:1", "-o", "x.npz"], "mine/model.json"),
        (["extract", *DIGITS, "--model", "mine", "-o", "x.npz"], "mine"),
        (["layers", "mine"], "mine"),
        (["filters", "mine"], "mine"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder", "saved", "probe")
def test_a_command_runs_code_that_a_file_names_only_if_told_to(
    sentinel: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    trusted: str,
) -> None:
    assert run(monkeypatch, *command) == 1
    message = capsys.readouterr().err
    assert NAME in message
    assert "--trust" in message
    assert not sentinel.exists()

    assert run(monkeypatch, *command, "--trust", trusted) == 0
    assert sentinel.exists()


@pytest.mark.usefixtures("folder", "saved")
@pytest.mark.parametrize(
    "command",
    [
        ["finetune", "digits", "--model", "mine", "--summary"],
        ["finetune", "digits", "--model", "mine", "-o", "again"],
        ["probe", "digits", "-e", "cnn:mine:1"],
        ["compare", "digits", "-e", "x.skops"],
        ["depth", "digits", "--model", "mine"],
        ["umap", "digits", "-e", "cnn:mine:1"],
        ["transfer", str(SAMPLES), "--domains", "all", "-e", "cnn:mine:1"],
        ["advise", "digits", "--model", "mine"],
        ["augment", "x.png", "--model", "mine"],
        ["pretrain", "autoencoder", "digits", "--encoder", "mine"],
        ["demo", "--model", "mine"],
    ],
)
def test_no_command_runs_code_that_a_file_names(
    sentinel: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    Image.new("RGB", (20, 20)).save("x.png")
    assert run(monkeypatch, *command) == 1
    assert "--trust" in capsys.readouterr().err
    assert not sentinel.exists()


def test_a_folder_that_names_another_one_needs_trust_in_that(
    sentinel: Path, folder: Path, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "model.json").write_text(json.dumps({"model": str(folder), "n_classes": 3}))

    with pytest.raises(ModelError, match=r"mine/model\.json"):
        list_layers(str(outer), trust=outer)
    assert not sentinel.exists()
    assert len(list_layers(str(outer), trust=folder)) == 5


def test_a_file_that_names_a_folder_needs_trust_in_the_folder(
    sentinel: Path, folder: Path, digits: Any, tmp_path: Path
) -> None:
    path = save_extractor(CNNFeatures(str(folder), "1"), tmp_path / "y.skops")

    with pytest.raises(ModelError, match=r"mine/model\.json"):
        extract(digits, str(path), store=None, trust=path)
    assert not sentinel.exists()
    assert len(extract(digits, str(path), store=None, trust=folder)) == 40


def test_trust_does_not_come_from_a_file(sentinel: Path, tmp_path: Path) -> None:
    import skops.io

    from featx.engine.persistence import _hide_classes, _with_schema

    hostile = CNNFeatures(NAME, "1", trust=[NAME, "x.skops"], store="planted")
    path = tmp_path / "planted.skops"
    path.write_bytes(_with_schema(skops.io.dumps(hostile), lambda s: _hide_classes(s, {})))

    with pytest.raises(ModelError, match="foreign_code"):
        load_extractor(path)
    loaded = load_extractor(path, trust=path)
    assert (loaded.trust, loaded.store) == (None, None)


def test_a_network_hidden_in_a_probe_is_found(saved: Path, digits: Any, tmp_path: Path) -> None:
    pipeline = make_pipeline(CNNFeatures("lenet", weights="random"), LinearProbe(C=1.0))
    pipeline.steps[1][1].hidden_ = {"deep": [{"er": CNNFeatures(NAME)}]}
    path = save_pipeline(pipeline, tmp_path / "p.skops", classes=probe_classes())

    with pytest.raises(ModelError, match="foreign_code"):
        predict(path, digits, store=None)


def test_links_do_not_lend_trust(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").touch()
    (tmp_path / "mine" / "linked").symlink_to(tmp_path / "theirs")

    with pytest.raises(ModelError, match="linked"):
        check_trusted(NAME, tmp_path / "mine" / "linked" / "model.json", tmp_path / "mine")
    check_trusted(NAME, tmp_path / "mine" / "linked" / "model.json", tmp_path / "theirs")


def test_what_the_user_names_needs_no_trust(sentinel: Path, digits: Any) -> None:
    assert find_source(NAME).name == NAME
    assert extract(digits, f'cnn:"{NAME}":1,size=16', store=None).X.shape[0] == 40


def test_a_network_of_ones_own_is_trained_and_then_read_with_trust(
    sentinel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["--model", NAME, "--size", "16", "--head-epochs", "1", "--train-per-class", "2"]
    assert run(monkeypatch, "finetune", *DIGITS, *train, "-o", "own") == 0
    assert "--trust own" in capsys.readouterr().out
    assert run(monkeypatch, "predict", "own", *DIGITS) == 1
    assert run(monkeypatch, "predict", "own", *DIGITS, "--trust", "own") == 0


def test_a_classifier_just_trained_keeps_working(sentinel: Path, digits: Any) -> None:
    tuned = FineTunedClassifier(NAME, size=16, head_epochs=1, batch_size=8)
    tuned.fit(digits.images, digits.labels)
    assert len(tuned.predict(digits.images)) == 40


def test_trust_in_the_estimator_opens_a_folder(sentinel: Path, folder: Path, digits: Any) -> None:
    features = CNNFeatures(str(folder), "1", trust=str(folder))
    assert features.fit_transform(digits.images).shape[0] == 40


@pytest.mark.parametrize("card", ["{", "[]", '{"model": ["a:b"]}', "{}"])
def test_a_damaged_card_is_one_line(tmp_path: Path, card: str) -> None:
    (tmp_path / "model.json").write_text(card)
    with pytest.raises(ModelError) as caught:
        list_layers(str(tmp_path))
    assert "\n" not in str(caught.value)
