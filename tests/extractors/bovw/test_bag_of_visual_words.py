import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from featx._fingerprints import fingerprint
from featx.errors import DatasetError, EmptyRowsWarning, ImageError
from featx.extractors.bovw.bag_of_visual_words import BagOfVisualWords
from featx.extractors.bovw.descriptors import OrbDescriptors, SiftDescriptors
from featx.store.feature_store import FeatureStore

DETECTORS = ["surf", "sift", "orb", "dense_sift", "dense_surf"]
ENCODINGS = ["bow", "vlad", "fisher"]
WAYS = [
    {"detector": "surf"},
    {"detector": "orb"},
    {"detector": "sift", "assignment": "soft", "weighting": "tfidf", "pyramid_levels": 1},
    {"detector": "surf", "encoding": "vlad", "n_components": 16},
    {"detector": "sift", "encoding": "fisher"},
]


def _small(detector: str = "orb", **parameters: Any) -> BagOfVisualWords:
    return BagOfVisualWords(detector, **{"n_words": 8, "image_size": 160, **parameters})


def _described(bag: BagOfVisualWords, photos: list[str]) -> list[np.ndarray]:
    """Values of each photo's descriptors, as compared."""
    extractor = bag._base()
    pixels = bag._images(photos, reset=True)
    rows = [extractor._describe(extractor._prepare(pixels.pixels(i))) for i in range(len(pixels))]
    return [bag._compare(row)[1] for row in rows]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_detector_goes_with_every_encoding(
    detector: str, encoding: str, photos: list[str]
) -> None:
    bag = _small(detector, encoding=encoding)
    X = bag.fit_transform(photos[:4])
    assert X.dtype == np.float32
    assert X.shape == (4, bag.n_features()) == (4, len(bag.get_feature_names_out()))
    assert np.isfinite(X).all()
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, rtol=1e-5)


def test_counts_equal_those_of_k_means_and_bincount(photos: list[str]) -> None:
    bag = BagOfVisualWords("sift", n_words=50, norm=None).fit(photos)
    model = KMeans(50, n_init=1, max_iter=1).fit(bag.codebook_)
    model.cluster_centers_ = bag.codebook_
    by_hand = [
        np.bincount(model.predict(values), minlength=50) for values in _described(bag, photos)
    ]
    np.testing.assert_array_equal(bag.transform(photos), by_hand)


def test_tfidf_equals_scikit_learns(photos: list[str]) -> None:
    bag = _small("surf", n_words=60, norm=None, weighting="tfidf").fit(photos)
    counts = clone(bag).set_params(weighting=None).fit_transform(photos)
    oracle = TfidfTransformer(norm=None).fit(counts)
    np.testing.assert_allclose(bag.idf_, oracle.idf_)
    np.testing.assert_allclose(bag.transform(photos), oracle.transform(counts).toarray(), rtol=1e-6)


def test_pyramid_equals_the_bags_of_quarters(photos: list[str]) -> None:
    bag = _small(norm=None, pyramid_levels=1).fit(photos)
    whole, *quarters = bag.transform(photos).reshape(12, 5, 8).transpose(1, 0, 2)
    np.testing.assert_array_equal(sum(quarters), whole)
    flat = _small(norm=None).fit(photos)
    np.testing.assert_array_equal(2 * whole, flat.transform(photos))


def test_pyramid_of_a_mirrored_image_has_left_and_right_exchanged() -> None:
    left = np.zeros((160, 320), np.uint8)
    left[30:130, 30:130] = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    images = np.stack([left, left[:, ::-1]])
    X = _small(norm=None, image_size=320, pyramid_levels=1).fit_transform(images)
    cells = X.reshape(2, 5, 8).sum(axis=2)
    assert cells[0, [2, 4]].tolist() == [0, 0]
    assert cells[1, [1, 3]].tolist() == [0, 0]
    assert cells[:, 0].min() > 0


@pytest.mark.parametrize("way", WAYS)
def test_bytes_do_not_depend_on_jobs_batches_or_order(
    way: dict[str, Any], photos: list[str]
) -> None:
    bag = _small(**way).fit(photos)
    X = bag.transform(photos)
    other = _small(**way, n_jobs=3).fit(photos)
    assert other.fingerprint() == bag.fingerprint()
    assert other.transform(photos[::-1])[::-1].tobytes() == X.tobytes()
    alone = np.concatenate([bag.transform([photo]) for photo in photos])
    assert alone.tobytes() == X.tobytes()


def test_bytes_do_not_depend_on_the_back_end(photos: list[str]) -> None:
    bag = _small("sift").fit(photos[:6])
    with joblib.parallel_config("loky", n_jobs=2):
        assert (
            bag.transform(photos[:6]).tobytes()
            == bag.set_params(n_jobs=1).transform(photos[:6]).tobytes()
        )


def test_another_random_state_gives_other_words(photos: list[str]) -> None:
    first, second = (_small(random_state=seed).fit(photos) for seed in (0, 1))
    assert first.codebook_.tobytes() != second.codebook_.tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_pickled_and_cloned_bags_give_the_same_rows(way: dict[str, Any], photos: list[str]) -> None:
    bag = _small(**way).fit(photos)
    X = bag.transform(photos)
    assert pickle.loads(pickle.dumps(bag)).transform(photos).tobytes() == X.tobytes()
    assert clone(bag).fit_transform(photos).tobytes() == X.tobytes()


def test_learned_attributes_are_plain_and_form_the_fingerprint(photos: list[str]) -> None:
    bag = _small("sift", encoding="fisher").fit(photos)
    state = bag._state()
    assert set(state) == {"codebook_", "weights_", "variances_", "mean_", "components_"}
    assert fingerprint(state) == fingerprint(pickle.loads(pickle.dumps(state)))


def test_another_fit_leaves_nothing_of_the_one_before(photos: list[str]) -> None:
    bag = _small("sift", encoding="fisher").fit(photos)
    bag.set_params(encoding="bow", detector="orb").fit(photos)
    assert set(bag._state()) == {"codebook_"}


def test_images_without_key_points_give_zeros_and_one_warning(photos: list[str]) -> None:
    bag = _small().fit(photos)
    before = bag.fingerprint()
    with pytest.warns(EmptyRowsWarning, match="2 of 3 images") as caught:
        X = bag.transform([np.zeros((9, 9), np.uint8), photos[0], np.zeros((9, 9), np.uint8)])
    assert len(caught) == 1
    assert X.any(axis=1).tolist() == [False, True, False]
    assert bag.fingerprint() == before


def test_small_images_are_brought_up_to_have_key_points() -> None:
    digit = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8)) * 255, np.ones((1, 1)))
    X = _small("surf", image_size=320, n_words=2).fit_transform(digit[None].astype(np.uint8))
    assert X.any()


def test_too_few_descriptors_are_met_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"n_words=500 .* gave 0\..*dense_sift"):
        BagOfVisualWords().fit(np.zeros((3, 9, 9), np.uint8))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoding": "vlad", "assignment": "soft"}, "encoding='bow'"),
        ({"encoding": "fisher", "weighting": "tfidf"}, "encoding='bow'"),
        ({"detector": "orb", "n_components": 4}, "bits"),
        ({"detector": "surf", "n_components": 65}, "64 values"),
        ({"n_descriptors": 5}, "n_words=8"),
        ({"detector": "dense_sift", "patch_px": (16, 2)}, "patch_px"),
        ({"detector": "brisk"}, "detector"),
    ],
)
def test_wrong_parameters_are_refused(
    parameters: dict[str, Any], message: str, photos: list[str]
) -> None:
    with pytest.raises(ValueError, match=message):
        _small(**parameters).fit(photos)


def test_a_broken_image_is_left_out_of_the_codebook_and_gets_nan(
    photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    X = _small(on_error="nan").fit_transform([*photos, str(tmp_path / "broken.jpg")])
    assert np.isnan(X[-1]).all()
    assert np.isfinite(X[:-1]).all()
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        _small().fit([*photos, str(tmp_path / "broken.jpg")])


def test_every_parameter_that_decides_values_changes_the_fingerprint() -> None:
    changes: dict[str, Any] = {
        "detector": "sift",
        "n_words": 9,
        "encoding": "vlad",
        "assignment": "soft",
        "weighting": "tfidf",
        "pyramid_levels": 1,
        "norm": "l1",
        "root_sift": False,
        "n_components": 3,
        "image_size": 100,
        "step_px": 4,
        "patch_px": (16,),
        "n_descriptors": 1000,
        "random_state": 1,
    }
    fingerprints = {_small(**{name: value}).fingerprint() for name, value in changes.items()}
    assert len(fingerprints | {_small().fingerprint()}) == len(changes) + 1
    assert _small(n_jobs=2, on_error="nan").fingerprint() == _small().fingerprint()


@pytest.fixture
def n_described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that was described."""
    calls: list[int] = []
    for extractor in (OrbDescriptors, SiftDescriptors):
        describe = extractor._describe

        def counted(self: Any, prepared: Any, describe: Any = describe) -> Any:
            calls.append(1)
            return describe(self, prepared)

        monkeypatch.setattr(extractor, "_describe", counted)
    return calls


def test_a_new_codebook_with_a_store_describes_nothing_again(
    photos: list[str], store: FeatureStore, n_described: list[int]
) -> None:
    X = _small(store=store).fit_transform(photos)
    assert len(n_described) == 12
    for other in ({"n_words": 5}, {"encoding": "vlad"}, {"random_state": 3}):
        _small(store=store, **other).fit_transform(photos)
    assert len(n_described) == 12
    assert X.tobytes() == _small().fit_transform(photos).tobytes()


def test_new_images_with_a_store_describe_only_themselves(
    photos: list[str], store: FeatureStore, n_described: list[int]
) -> None:
    bag = _small("sift", store=store).fit(photos[:10])
    bag.transform(photos)
    assert len(n_described) == 12
    _small("sift", store=store, root_sift=False).fit_transform(photos[::-1])
    assert len(n_described) == 12


def test_a_pipeline_learns_ants_from_bees(shared: Callable[[str], Path]) -> None:
    folder = shared("data/ants_bees/train")
    paths = {kind: sorted((folder / kind).glob("*.jpg"))[:30] for kind in ("ants", "bees")}
    X, y = [*paths["ants"], *paths["bees"]], np.repeat([0, 1], 30)
    bag = _small("sift", n_words=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make_pipeline(bag, LogisticRegression(C=10)).fit(X[::2], y[::2])
    assert model.score(X[::2], y[::2]) > 0.9
    assert model.score(X[1::2], y[1::2]) > 0.5


@pytest.fixture(scope="module")
def flowers_store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Keeps descriptors from one way of encoding them to the next."""
    return FeatureStore(tmp_path_factory.mktemp("flowers"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "least"),
    [
        ({"detector": "surf"}, 0.45),
        ({"detector": "sift"}, 0.50),
        ({"detector": "orb"}, 0.37),
        ({"detector": "sift", "encoding": "fisher"}, 0.65),
    ],
    ids=["surf", "sift", "orb", "fisher"],
)
def test_flowers_are_classified_as_well_as_by_plain_code(
    spec: dict[str, Any],
    least: float,
    shared: Callable[[str], Path],
    flowers_store: FeatureStore,
) -> None:
    rng = np.random.default_rng(0)
    folders = sorted(path for path in shared("data/flowers17").iterdir() if path.is_dir())
    paths = [rng.permutation(sorted(map(str, folder.glob("*.jpg"))))[:80] for folder in folders]
    train, test = (
        np.concatenate([some[part] for some in paths]) for part in (slice(40), slice(40, 80))
    )
    y = np.repeat(np.arange(len(paths)), 40)
    bag = BagOfVisualWords(**spec, n_descriptors=50_000, store=flowers_store)
    model = make_pipeline(bag, LogisticRegression(C=10, max_iter=1000))
    assert model.fit(train, y).score(test, y) > least


def test_images_that_teach_nothing_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    bag = BagOfVisualWords("orb", n_words=2, on_error="nan")
    with pytest.raises(ImageError, match="not an image"):
        bag.fit([str(broken)])
    with pytest.raises(DatasetError, match=r"n_words=2 needs as many .* gave 0"):
        bag.fit(np.zeros((3, 64, 64, 3), np.uint8))
