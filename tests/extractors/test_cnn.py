from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import torchvision
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms._presets import ImageClassification

from featx.errors import LayerError, ModelError, WeightsError
from featx.extractors.cnn import CNNFeatures
from featx.networks.network import Network
from featx.store.feature_store import FeatureStore

SQUEEZENET = "weights/squeezenet1_0-imagenet.pth"


@pytest.fixture(scope="module")
def squeezenet(shared: Callable[[str], Path]) -> Path:
    return shared(SQUEEZENET)


@pytest.fixture(scope="module")
def reference(squeezenet: Path, photos: list[str]) -> dict[str, np.ndarray]:
    """What torchvision's own extractor and preprocessing give."""
    network = torchvision.models.squeezenet1_0()
    network.load_state_dict(torch.load(squeezenet, weights_only=True))
    nodes = {"features.2": "pool1", "features.12": "-1"}
    extractor = create_feature_extractor(network, nodes).eval()
    prepare = ImageClassification(crop_size=224)
    batch = torch.stack([prepare(Image.open(path).convert("RGB")) for path in photos])
    with torch.inference_mode():
        return {name: maps.flatten(1).numpy() for name, maps in extractor(batch).items()}


def deviation(rows: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.linalg.norm(rows - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())


@pytest.mark.parametrize("tap", ["graph", "hooks"])
@pytest.mark.parametrize("layer", ["pool1", "-1"])
def test_equals_torchvision_with_its_own_resize(
    layer: str, tap: str, squeezenet: Path, photos: list[str], reference: dict[str, Any]
) -> None:
    features = CNNFeatures("squeezenet1_0", layer, weights=squeezenet, resize="pillow", tap=tap)
    assert deviation(features.fit_transform(photos), reference[layer]) < 1e-5


def test_default_resize_is_torchvisions(
    squeezenet: Path, photos: list[str], reference: dict[str, Any]
) -> None:
    features = CNNFeatures("squeezenet1_0", ["pool1", "-1"], weights=squeezenet)
    rows = features.fit_transform(photos)
    width = features.n_features("pool1")
    assert deviation(rows[:, :width], reference["pool1"]) < 1e-5
    assert deviation(rows[:, width:], reference["-1"]) < 1e-5


def test_torch_resize_is_near(
    squeezenet: Path, photos: list[str], reference: dict[str, Any]
) -> None:
    features = CNNFeatures("squeezenet1_0", "-1", weights=squeezenet, resize="torch")
    assert 0 < deviation(features.fit_transform(photos), reference["-1"]) < 2e-2


def test_rows_do_not_depend_on_the_batch(squeezenet: Path, photos: list[str]) -> None:
    rows = [
        CNNFeatures("squeezenet1_0", "-1", weights=squeezenet, batch_size=n).fit_transform(photos)
        for n in (1, 5, 8)
    ]
    assert deviation(rows[0], rows[1]) < 1e-5
    assert deviation(rows[0], rows[2]) < 1e-5


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 40, 50, 3), dtype=np.uint8)


def small(layer: Any = "pool1", **parameters: Any) -> CNNFeatures:
    """The cheapest network of all."""
    return CNNFeatures("squeezenet1_1", layer, weights="random", size=48, **parameters)


@pytest.fixture
def n_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images in each forward pass, as they happen."""
    passes: list[int] = []
    rows = Network.rows

    def count(network: Network, batch: torch.Tensor, taps: Any) -> Any:
        passes.append(len(batch))
        return rows(network, batch, taps)

    monkeypatch.setattr(Network, "rows", count)
    return passes


def test_all_layers_come_out_of_one_pass(images: np.ndarray, n_passes: list[int]) -> None:
    names = ["pool1", "fire4", "fire9", "-1", "features.12"]
    rows = small(names, pooling="gap").fit_transform(images)
    assert sum(n_passes) == len(images) == 6
    assert np.array_equal(rows[:, -512:], rows[:, -1024:-512])


def test_columns_have_the_names_of_their_layers(images: np.ndarray) -> None:
    features = small(["pool1", "-1"], pooling="gap").fit(images)
    names = features.get_feature_names_out()
    assert len(names) == features.transform(images).shape[1] == 64 + 512
    assert [names[0], names[63], names[64]] == ["pool1_0", "pool1_63", "-1_0"]


@pytest.mark.parametrize("tap", ["graph", "hooks"])
def test_a_layer_alone_equals_it_among_others(tap: str, images: np.ndarray) -> None:
    many = small(["fire2", "pool2", "logits"], tap=tap)
    rows, start = many.fit_transform(images), 0
    for name in many.layers:
        stop = start + many.n_features(name)
        assert np.allclose(
            rows[:, start:stop], small(name, tap=tap).fit_transform(images), atol=1e-5
        )
        start = stop


@pytest.mark.parametrize("alias", ["features.2", "pool1"])
def test_alias_and_node_are_one_setting(alias: str) -> None:
    assert small(alias).fingerprint(alias) == small("pool1").fingerprint("pool1")


def test_every_way_of_asking_for_the_same_values_is_one_setting() -> None:
    same = [
        small("pool1", pooling="flatten"),
        small(["fire2", "pool1"]),
        small("pool1", batch_size=3, device="cpu", n_jobs=2),
        small("pool1", crop=48, interpolation="bilinear"),
    ]
    assert {features.fingerprint("pool1") for features in same} == {small().fingerprint()}


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "fire2"},
        {"pooling": "gap"},
        {"size": 49},
        {"crop": 40},
        {"interpolation": "bicubic"},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"resize": "torch"},
        {"precision": "bf16"},
        {"load": "features*"},
        {"model": "squeezenet1_0"},
        {"weights": "default"},
    ],
)
def test_what_changes_values_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert small().set_params(**change).fingerprint() != small().fingerprint()


def test_tap_does_not_change_the_fingerprint() -> None:
    assert small(tap="hooks").fingerprint() == small().fingerprint()


def test_weights_file_is_known_by_its_content(tmp_path: Path) -> None:
    state = torchvision.models.squeezenet1_1().state_dict()
    fingerprints = set()
    for name in ("one.pth", "other.pth"):
        torch.save(state, tmp_path / name)
        (tmp_path / "same.pth").write_bytes((tmp_path / name).read_bytes())
        fingerprints.add(small().set_params(weights=tmp_path / "same.pth").fingerprint())
    state["features.0.bias"] += 1
    torch.save(state, tmp_path / "same.pth")
    assert small().set_params(weights=tmp_path / "same.pth").fingerprint() not in fingerprints


def test_grid_search_over_layers_pays_for_each_image_and_layer_once(
    images: np.ndarray, n_passes: list[int], store: FeatureStore
) -> None:
    pipeline = make_pipeline(small(pooling="gap", store=store), LogisticRegression())
    layers = ["pool1", "fire3", "features.2"]  # the last is the first by another name
    search = GridSearchCV(pipeline, {"cnnfeatures__layer": layers}, cv=3, error_score="raise")
    search.fit(images, [0, 1] * 3)
    assert sum(n_passes) == 2 * len(images)


def test_warm_run_makes_no_pass(
    images: np.ndarray, n_passes: list[int], store: FeatureStore
) -> None:
    features = small(["pool1", "-1"], store=store)
    cold = features.fit_transform(images)
    n_cold = len(n_passes)
    assert np.array_equal(features.transform(images[::-1]), cold[::-1])
    assert len(n_passes) == n_cold


def test_pickle_holds_no_network(images: np.ndarray) -> None:
    features = small().fit(images)
    rows = features.transform(images)
    data = pickle.dumps(features)
    assert len(data) < 2000
    assert np.array_equal(pickle.loads(data).transform(images), rows)
    assert np.array_equal(clone(features).fit_transform(images), rows)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"layer": "pol1"}, LayerError, "Did you mean 'pool1'"),
        ({"layer": []}, ValueError, "at least one layer"),
        ({"model": "squeezenet9"}, ModelError, "Did you mean 'squeezenet1_"),
        ({"weights": "IMAGENET21K"}, WeightsError, "expected one of IMAGENET1K_V1"),
        ({"weights": "nowhere/w.pth"}, WeightsError, r"nowhere/w.pth does not exist"),
        ({"pooling": "median"}, ValueError, "pooling must be one of"),
        ({"pooling": "cls"}, ValueError, "needs a class token"),
        ({"crop": 99}, ValueError, "larger than the resized image"),
        ({"precision": "fp8"}, ValueError, "precision"),
        ({"resize": "torch", "interpolation": "lanczos"}, ValueError, "lanczos"),
        ({"size": 2}, ModelError, "does not take images of 2x2 px"),
    ],
)
def test_a_wrong_parameter_is_refused_at_fit(
    parameters: dict[str, Any], error: type[Exception], message: str, images: np.ndarray
) -> None:
    with pytest.raises(error, match=message):
        small().set_params(**parameters).fit(images)


def test_default_weights_that_are_not_here_say_where_to_put_them(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", "http://127.0.0.1:9/squeezenet1_1-b8a52dc0.pth")
    with pytest.raises(WeightsError, match=r"copy it to .*squeezenet1_1-b8a52dc0.pth"):
        small().set_params(weights="default").fit_transform(images)


def test_class_token_is_the_default_of_a_vision_transformer(images: np.ndarray) -> None:
    features = CNNFeatures("vit_b_16", "block1", weights="random")
    cls, mean = (
        features.set_params(pooling=pooling).fit_transform(images[:1])
        for pooling in ("auto", "mean")
    )
    tokens = features.set_params(pooling="flatten").fit_transform(images[:1]).reshape(197, 768)
    assert np.allclose(cls, tokens[0], atol=1e-6)
    assert np.allclose(mean, tokens[1:].mean(0), atol=1e-5)


def test_swin_is_pooled_over_its_places(images: np.ndarray) -> None:
    features = CNNFeatures("swin_t", "stage4", weights="random", size=64)
    maps = features.fit_transform(images[:1]).reshape(2, 2, 768)
    gap = features.set_params(pooling="gap").fit_transform(images[:1])
    assert np.allclose(gap, maps.mean((0, 1)), atol=1e-5)


def test_a_broken_image_is_a_row_of_nan_when_asked(images: np.ndarray) -> None:
    rows = small(pooling="gap", on_error="nan").fit_transform([images[0], b"no image"])
    assert np.isfinite(rows[0]).all()
    assert np.isnan(rows[1]).all()


def test_reproducible_rows_have_the_same_bytes_in_any_company(photos: list[str]) -> None:
    extractor = CNNFeatures("alexnet", "conv3", weights="random", pooling="gap", reproducible=True)
    whole = extractor.transform(photos)
    some = [7, 2, 10]
    assert extractor.transform([photos[i] for i in some]).tobytes() == whole[some].tobytes()


def test_scaled_decoding_is_on_wish_near_and_kept_apart(tmp_path: Path, photos: list[str]) -> None:
    """Only large JPEGs are reduced, and the rows of either way do not mix in a store."""
    large, small_one = tmp_path / "large.jpg", photos[1]
    with Image.open(photos[0]) as image:
        side = 8 * 96
        image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(large, quality=90)
    paths = [str(large), small_one]
    ways = {
        decode: CNNFeatures(
            "squeezenet1_1",
            "pool1",
            weights="random",
            size=96,
            decode=decode,
            store=tmp_path / "store",
        )
        for decode in ("full", "scaled")
    }
    assert ways["full"].least_px is None
    assert ways["scaled"].least_px == 192
    assert ways["full"].fingerprint("pool1") != ways["scaled"].fingerprint("pool1")

    full, scaled = (extractor.fit_transform(paths) for extractor in ways.values())

    with Image.open(small_one) as image:
        assert min(image.size) < 2 * 192
    np.testing.assert_array_equal(full[1], scaled[1])
    assert 0 < np.linalg.norm(full[0] - scaled[0]) < 0.1 * np.linalg.norm(full[0])


def as_png(values: np.ndarray, path: Path) -> Any:
    Image.fromarray(values).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def as_tiff(values: np.ndarray, path: Path) -> Any:
    tifffile.imwrite(path.with_suffix(".tif"), values)
    return path.with_suffix(".tif")


def as_dicom(values: np.ndarray, path: Path) -> Any:
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small.dcm"))
    dataset.PixelData, dataset.PixelRepresentation = values.tobytes(), 0
    dataset.save_as(path.with_suffix(".dcm"))
    return path.with_suffix(".dcm")


@pytest.mark.parametrize("write", [as_png, as_tiff, as_dicom, lambda values, path: values])
def test_4096_gray_values_are_4096_at_the_input(
    write: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    seen = []
    normalize = Network.normalize
    monkeypatch.setattr(
        Network, "normalize", lambda *args: seen.append(normalize(*args)) or seen[-1]
    )
    options = {"weights": "random", "size": 64, "backend": "torch", "value_range": (0, 4095)}
    CNNFeatures("alexnet", "pool1", **options).transform([write(values, tmp_path / "a")])
    assert len(torch.unique(seen[-1][0, 0])) == 4096


def test_deep_images_among_others_have_the_rows_they_have_alone() -> None:
    shallow = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    deep = shallow[::-1].astype(np.uint16) * 257 + 9
    network = CNNFeatures("alexnet", "pool1", weights="random", size=64, backend="torch")
    together = network.transform([shallow, deep, shallow])
    for image, row in zip([shallow, deep, shallow], together):
        np.testing.assert_allclose(network.transform([image])[0], row, rtol=1e-4, atol=1e-5)


def test_openvino_takes_deep_images() -> None:
    pytest.importorskip("openvino")
    deep = np.random.default_rng(0).integers(0, 65536, (5, 40, 40, 3)).astype(np.uint16)
    torch_rows, rows = (
        CNNFeatures("alexnet", "pool1", weights="random", size=64, backend=backend).transform(deep)
        for backend in ("torch", "openvino")
    )
    np.testing.assert_allclose(rows, torch_rows, rtol=1e-3, atol=1e-4)


def vit() -> Any:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 4, "num_heads": 2}
    return timm.models.VisionTransformer(**sizes, reg_tokens=2, num_classes=3).eval()


@pytest.mark.parametrize("tap", ["graph", "hooks"])
def test_last_blocks_are_those_of_the_linear_evaluation_of_dinov2(
    tap: str, images: np.ndarray
) -> None:
    network, how = vit(), {"size": 32, "mean": (0, 0, 0), "std": (1, 1, 1)}
    features = CNNFeatures(network, "last2", tap=tap, pooling="cls", **how)
    pixels = np.stack([features._prepare(image) for image in images])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        layers = network.get_intermediate_layers(batch, 2, norm=True, return_prefix_tokens=True)
    cls = torch.cat([prefix[:, 0] for _, prefix in layers], dim=1)
    mean = torch.cat([tokens.mean(1) for tokens, _ in layers], dim=1)
    assert np.allclose(features.fit_transform(images), cls, atol=1e-5)
    rows = features.set_params(pooling="mean").fit_transform(images)
    assert np.allclose(rows, mean, atol=1e-5)


def test_last_blocks_share_a_pass_with_a_block_that_is_not_normed(images: np.ndarray) -> None:
    network = vit()
    both = CNNFeatures(network, ["block4", "last2"], size=32).fit_transform(images)
    alone = CNNFeatures(network, "block4", size=32).fit_transform(images)
    assert both.shape[1] == 3 * 12
    assert np.allclose(both[:, :12], alone, atol=1e-5)
    assert not np.allclose(both[:, :12], both[:, 24:], atol=1e-2)


def test_last_blocks_have_a_fingerprint_of_their_own() -> None:
    network = vit()
    names = ["block4", "last1", "last2", "last3"]
    settings = [CNNFeatures(network, name, size=32).settings(name)["layer"] for name in names]
    assert settings == [
        "blocks.3",
        "norm(blocks.3)",
        "norm(blocks.2, blocks.3)",
        "norm(blocks.1, blocks.2, blocks.3)",
    ]
