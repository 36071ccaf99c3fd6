"""Laws of a run: nothing computed twice, nothing lost, nothing wrong, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data.images import Images
from featx.errors import (
    DamagedRowWarning,
    ImageError,
    NonFiniteRowsWarning,
)
from featx.extractors.base import Extractor, Producer
from featx.extractors.color import ColorHistogram, MeanColor
from featx.extractors.pixels import RawPixels
from featx.store.feature_store import FeatureStore
from featx.streaming.progress import ProgressCallback
from featx.streaming.rows import stream_inputs, stream_rows
from featx.testing import check_extractor
from tests.streaming.conftest import InLanes, InParent

SLOW_RUN = """
import sys, time
from pathlib import Path
import joblib, numpy as np
from featx.extractors.color import MeanColor

folder, log, backend, *photos = sys.argv[1:]

class Slow(MeanColor):
    batch_length = 2

    def _prepare(self, pixels):
        with open(log, "a") as file:
            file.write("one\\n")
        time.sleep(0.25)
        return super()._prepare(pixels)

if __name__ == "__main__":
    with joblib.parallel_config(backend, n_jobs=2):
        rows = Slow(store=folder).transform(photos)
    np.save(log + ".npy", rows)
"""

FULL_RUN = """
import resource, sys
from featx.errors import StoreError
from featx.extractors.pixels import RawPixels

limit, folder, *photos = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
try:
    RawPixels(64, store=folder).transform(photos)
except StoreError as error:
    print(error)
"""


class Dots(Producer):
    """Colors of a grid of dots, fewer on smaller images and none on the smallest."""

    is_ragged = True
    batch_length = 5

    def __init__(self, step_px: int = 64) -> None:
        self.step_px = step_px

    def n_features(self, layer: str = "") -> int:
        return 100

    def settings(self, layer: str = "") -> dict[str, Any]:
        return {"extractor": "dots", "version": self.feature_version, "step_px": self.step_px}

    def _extract(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        start, step = self.step_px // 2, self.step_px
        return [pixels[start::step, start::step].reshape(-1, 3) for pixels in batch]


class Words(Extractor):
    """Counts of the nearest of the first few dots seen."""

    def __init__(self, n_words: int = 4, *, step_px: int = 64, store: Any = None) -> None:
        super().__init__(store=store)
        self.n_words = n_words
        self.step_px = step_px

    @property
    def _n_features_out(self) -> int:
        return self.n_words

    def _base(self) -> Dots:
        return Dots(self.step_px)

    def _learn(self, inputs: Iterable[np.ndarray]) -> None:
        self.words_ = np.concatenate([dots[:1] for dots in inputs])[: self.n_words].astype(float)

    def _extract(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        distances = [np.abs(dots[:, None] - self.words_).sum(2) for dots in batch]
        counts = [np.bincount(it.argmin(1), minlength=self.n_words) for it in distances]
        return np.array(counts, np.float32)


class Evens(Extractor):
    """Every other number of the rows of another extractor, which is given as an object."""

    _parameter_constraints = {**Extractor._parameter_constraints, "base": [Extractor]}

    def __init__(
        self, base: Any, *, on_error: str = "raise", n_jobs: Any = None, store: Any = None
    ) -> None:
        super().__init__(on_error=on_error, n_jobs=n_jobs, store=store)
        self.base = base

    @property
    def _n_features_out(self) -> int:
        return -(-self.base.n_features() // 2)

    def _base(self) -> Extractor:
        return self.base

    def _extract(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(batch)[:, ::2]


class Total(ProgressCallback):
    """What was planned, and how many images were reported as done."""

    def __init__(self) -> None:
        self.plans: list[tuple[int, int]] = []
        self.n_done = 0

    def plan(self, n_images: int, n_cached: int) -> None:
        self.plans.append((n_images, n_cached))

    def advance(self, n_images: int) -> None:
        self.n_done += n_images


@pytest.fixture
def copies(photos: list[str], tmp_path: Path) -> list[str]:
    """The photographs in a folder that a test may spoil."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return [str(shutil.copy(photo, folder / f"{i}.jpg")) for i, photo in enumerate(photos)]


def damage_a_row(store: FeatureStore) -> None:
    """Flip a bit in the last row of the first shard."""
    path = store.folder / store._index.shard_files()[0].file
    content = bytearray(path.read_bytes())
    content[content.index(b'{"fingerprint"') - 10] ^= 1
    path.write_bytes(content)


def test_a_warm_run_decodes_nothing(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str], expected: np.ndarray
) -> None:
    cold = ColorHistogram(store=store).transform(photos)
    assert n_decoded.total() == 2 * len(photos)  # Once for `expected`.
    n_decoded.clear()
    warm = ColorHistogram(store=str(store.folder)).transform(photos)
    assert n_decoded.total() == 0
    assert cold.tobytes() == warm.tobytes() == expected.tobytes()


def test_renamed_copied_reordered_and_subset_images_are_known(
    store: FeatureStore, photos: list[str], copies: list[str], n_decoded: Counter[str]
) -> None:
    rows = ColorHistogram(store=store).transform(photos)
    n_decoded.clear()
    moved = Path(copies[0]).parent.rename(Path(copies[0]).parents[1] / "elsewhere")
    order = [7, 2, 11, 2, 0]
    np.testing.assert_array_equal(
        ColorHistogram(store=store).transform([moved / f"{i}.jpg" for i in order]), rows[order]
    )
    assert n_decoded.total() == 0


def test_paths_and_bytes_of_an_image_share_a_row(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    ColorHistogram(store=store).transform(photos)
    n_decoded.clear()
    ColorHistogram(store=store).transform([Path(photo).read_bytes() for photo in photos])
    assert n_decoded.total() == 0


def test_enlarging_a_collection_computes_what_is_new(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str], expected: np.ndarray
) -> None:
    ColorHistogram(store=store).transform(photos[:9])
    n_decoded.clear()
    rows = ColorHistogram(store=store).transform(photos)
    assert sorted(n_decoded.elements()) == sorted(photos[9:])
    np.testing.assert_array_equal(rows, expected)


def test_duplicates_are_computed_once(
    store: FeatureStore, photos: list[str], copies: list[str], n_decoded: Counter[str]
) -> None:
    rows = ColorHistogram(store=store).transform([*photos, *copies])
    assert n_decoded.total() == len(photos)
    np.testing.assert_array_equal(rows[:12], rows[12:])


def test_another_setting_is_computed_and_the_first_kept(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    for n_bins in (8, 16, 8, 16):
        ColorHistogram(n_bins, store=store).transform(photos)
    assert n_decoded.total() == 2 * len(photos)
    assert sorted(setting.width for setting in store.ls()) == [24, 48]


def test_speed_settings_share_rows(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    for n_jobs in (1, 2, None):
        ColorHistogram(n_jobs=n_jobs, store=store).transform(photos)
    assert n_decoded.total() == len(photos)


def test_a_damaged_row_is_computed_anew_with_a_warning(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str], expected: np.ndarray
) -> None:
    ColorHistogram(store=store).transform(photos)
    damage_a_row(store)
    n_decoded.clear()
    with pytest.warns(DamagedRowWarning, match="^1 rows"):
        rows = ColorHistogram(store=store).transform(photos)
    np.testing.assert_array_equal(rows, expected)
    assert n_decoded.total() == 1
    assert store.verify().n_damaged == 0
    np.testing.assert_array_equal(ColorHistogram(store=store).transform(photos), expected)


def test_a_changed_image_and_no_other_is_computed_anew(
    store: FeatureStore, copies: list[str], photos: list[str], n_decoded: Counter[str]
) -> None:
    before = ColorHistogram(store=store).transform(copies)
    shutil.copy(copies[5], copies[3])
    Path(copies[4]).write_bytes(Path(photos[4]).read_bytes() + b"tail")
    n_decoded.clear()
    after = ColorHistogram(store=store).transform(copies)
    assert list(n_decoded) == [copies[4]]  # 3 is now known as 5.
    np.testing.assert_array_equal(after, before[[0, 1, 2, 5, *range(4, 12)]])


def test_an_image_that_changes_during_the_run_gets_the_row_of_what_it_is(
    store: FeatureStore, copies: list[str], expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = FeatureStore.digests

    def then_change(self: FeatureStore, images: Images) -> list[str | ImageError]:
        found = digests(self, images)
        monkeypatch.setattr(FeatureStore, "digests", digests)
        shutil.copy(copies[1], copies[0])
        return found

    monkeypatch.setattr(FeatureStore, "digests", then_change)
    rows = ColorHistogram(store=store).transform(copies)
    np.testing.assert_array_equal(rows, expected[[1, *range(1, 12)]])


def test_unreadable_images_are_failures_and_the_rest_goes_on(
    store: FeatureStore, copies: list[str], expected: np.ndarray
) -> None:
    Path(copies[2]).write_bytes(b"no image")
    Path(copies[3]).write_bytes(Path(copies[3]).read_bytes()[:500])
    Path(copies[9]).unlink()
    rows = stream_rows(ColorHistogram(store=store), Images(copies))
    assert [failure.index for failure in rows.failures] == [2, 3, 9]
    assert all(failure.error.name == copies[failure.index] for failure in rows.failures)
    good = [0, 1, 4, 5, 6, 7, 8, 10, 11]
    np.testing.assert_array_equal(rows.matrix()[good], expected[good])
    assert np.isnan(rows.matrix()[[2, 3, 9]]).all()


def test_copies_of_a_broken_image_fail_each_under_its_name(
    store: FeatureStore, copies: list[str], n_decoded: Counter[str]
) -> None:
    for i in (1, 4):
        Path(copies[i]).write_bytes(b"no image")
    rows = stream_rows(ColorHistogram(store=store), Images(copies))
    assert [failure.error.name for failure in rows.failures] == [copies[1], copies[4]]
    assert len({failure.error.reason for failure in rows.failures}) == 1
    assert n_decoded[copies[1]] + n_decoded[copies[4]] == 1


def test_no_readable_image_gives_rows_of_nan(store: FeatureStore, tmp_path: Path) -> None:
    rows = stream_rows(ColorHistogram(4, store=store), Images([tmp_path / "gone.jpg"]))
    assert rows.matrix().shape == (1, 12)
    assert np.isnan(rows.matrix()).all()


def test_no_images_give_no_rows(store: FeatureStore) -> None:
    assert stream_rows(ColorHistogram(4, store=store), Images([])).matrix().shape == (0, 12)


def test_filling_alone_reads_no_row(
    store: FeatureStore, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FeatureStore, "fill")
    rows = stream_rows(ColorHistogram(store=store), Images(photos), collect=False)
    assert rows.blocks == {}
    assert store.info().n_rows == len(photos)


def slow_run(folder: Path, log: Path, backend: str, photos: list[str]) -> subprocess.Popen[bytes]:
    script = log.with_suffix(".py")
    script.write_text(SLOW_RUN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), str(folder), str(log), backend, *photos]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def n_lines(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


@pytest.mark.skipif(os.name != "posix", reason="Windows has no kill -9")
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_kill_9_loses_at_most_one_shard_of_each_worker(
    store: FeatureStore, photos: list[str], tmp_path: Path, backend: str
) -> None:
    first = slow_run(store.folder, tmp_path / "first", backend, photos)
    while n_lines(tmp_path / "first") < 7:
        assert first.poll() is None
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    n_stored = store.info().n_rows
    assert slow_run(store.folder, tmp_path / "second", backend, photos).wait() == 0
    assert n_stored >= 2
    assert n_lines(tmp_path / "second") == 12 - n_stored
    # A shard of two images for each of two workers, and what they began while it was entered.
    assert n_lines(tmp_path / "first") - n_stored <= 2 * (2 + 1)
    np.testing.assert_array_equal(np.load(tmp_path / "second.npy"), MeanColor().transform(photos))


def test_two_processes_fill_one_store_with_every_row_once(
    store: FeatureStore, photos: list[str], tmp_path: Path
) -> None:
    runs = [
        slow_run(store.folder, tmp_path / name, "threading", order)
        for name, order in (("one", photos), ("two", photos[::-1]))
    ]
    assert [run.wait() for run in runs] == [0, 0]
    expected = MeanColor().transform(photos)
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy"), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "two.npy"), expected[::-1])
    info = store.info()
    assert (info.n_rows, store.verify().n_damaged) == (12, 0)
    assert len(list((store.folder / "shards").iterdir())) == info.n_shards


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are POSIX's")
@pytest.mark.parametrize("limit", ["8000", "100000"], ids=["index", "shard"])
def test_a_full_disk_is_one_line_and_the_store_stays_good(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str], limit: str
) -> None:
    extractor = RawPixels(64, store=store)
    rows = extractor.transform(photos[:3])
    command = [sys.executable, "-c", FULL_RUN, limit, str(store.folder), *photos]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("No space left on the disk of the store")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert store.verify().n_damaged == 0
    n_decoded.clear()
    np.testing.assert_array_equal(extractor.transform(photos)[:3], rows)
    assert sorted(n_decoded.elements()) == sorted(photos[3:])


def test_other_learned_values_only_work_on_the_base_s_rows_anew(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    for n_words in (2, 5):
        words = Words(n_words, store=store).fit(photos)
        np.testing.assert_array_equal(
            words.transform(photos), Words(n_words).fit(photos[:5]).transform(photos)
        )
        n_decoded.clear() if n_words == 2 else None
    assert {setting.n_rows for setting in store.ls()} == {12}
    assert len(store.ls()) == 3  # One of dots, two of counts.


def test_rows_of_the_base_are_computed_once_for_learning_and_extracting(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    Words(3, store=store).fit(photos[:8]).transform(photos)
    assert sorted(n_decoded.elements()) == sorted(photos)
    Words(4, store=store).fit(photos).transform(photos)
    assert n_decoded.total() == len(photos)
    Words(4, step_px=32, store=store).fit(photos)
    assert n_decoded.total() == 2 * len(photos)


def test_learning_is_the_same_with_and_without_a_store(
    store: FeatureStore, photos: list[str]
) -> None:
    stored, plain = Words(5, store=store).fit(photos), Words(5).fit(photos)
    np.testing.assert_array_equal(stored.words_, plain.words_)
    assert stored.fingerprint() == plain.fingerprint()


def test_learning_heals_damaged_rows_of_the_base(store: FeatureStore, photos: list[str]) -> None:
    plain = Words(12).fit(photos)
    Words(12, store=store).fit(photos)
    damage_a_row(store)
    with pytest.warns(DamagedRowWarning, match="^1 rows"):
        healed = Words(12, store=store).fit(photos)
    np.testing.assert_array_equal(healed.words_, plain.words_)


@pytest.mark.parametrize("collect", [True, False])
def test_extracting_heals_damaged_rows_of_the_base(
    store: FeatureStore, photos: list[str], collect: bool
) -> None:
    words = Words(3, store=store).fit(photos)
    damage_a_row(store)
    with pytest.warns(DamagedRowWarning, match="^1 rows"):
        stream_rows(words, Images(photos), collect=collect)
    np.testing.assert_array_equal(words.transform(photos), Words(3).fit(photos).transform(photos))


@pytest.mark.parametrize("base", [ColorHistogram(5), InParent(5), InLanes(5)])
def test_an_extractor_works_on_the_rows_of_another(
    store: FeatureStore, photos: list[str], base: Extractor
) -> None:
    rows = ColorHistogram(5).transform(photos)
    np.testing.assert_array_equal(Evens(base).transform(photos), rows[:, ::2])
    np.testing.assert_array_equal(Evens(base, store=store).transform(photos), rows[:, ::2])


def test_rows_of_a_base_are_those_of_the_extractor_alone(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    ColorHistogram(store=store).transform(photos)
    n_decoded.clear()
    for _ in range(2):
        Evens(ColorHistogram(), store=store).transform(photos)
    assert n_decoded.total() == 0
    assert sorted(setting.width for setting in store.ls()) == [48, 96]


def test_a_base_may_have_a_base(store: FeatureStore, photos: list[str]) -> None:
    rows = ColorHistogram().transform(photos)[:, ::4]
    chain = Evens(Evens(ColorHistogram()))
    np.testing.assert_array_equal(chain.transform(photos), rows)
    np.testing.assert_array_equal(chain.set_params(store=store).transform(photos), rows)
    assert sorted(setting.width for setting in store.ls()) == [24, 48, 96]


def test_an_extractor_over_another_keeps_every_law() -> None:
    check_extractor(Evens(ColorHistogram(4)), variations={"base": ColorHistogram(5)})


def test_a_new_version_of_the_base_changes_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Evens(ColorHistogram()).fingerprint(), Words().fingerprint()
    monkeypatch.setattr(ColorHistogram, "feature_version", 99)
    monkeypatch.setattr(Dots, "feature_version", 99)
    assert not {Evens(ColorHistogram()).fingerprint(), Words().fingerprint()} & set(before)


def test_a_base_of_several_layers_is_refused(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ColorHistogram, "layers", ["pool1", "fc7"])
    with pytest.raises(ValueError, match=r"one layer; its base has pool1, fc7\.$"):
        Evens(ColorHistogram()).transform(photos)


def test_images_without_rows_of_the_base_are_no_failures(
    store: FeatureStore, photos: list[str]
) -> None:
    images = [*photos[:3], np.zeros((8, 8, 3), np.uint8)]
    words = Words(3).fit(photos)
    plain = words.transform(images)
    assert plain[3].tolist() == [0, 0, 0]
    for _ in range(2):
        np.testing.assert_array_equal(words.set_params(store=store).transform(images), plain)


def test_copies_of_a_broken_image_fail_in_base_and_extractor(
    store: FeatureStore, photos: list[str], copies: list[str], n_decoded: Counter[str]
) -> None:
    words = Words(3, store=store).fit(photos)
    for i in (1, 4):
        Path(copies[i]).write_bytes(b"no image")
    n_decoded.clear()
    rows = stream_rows(words, Images(copies))
    assert [failure.error.name for failure in rows.failures] == [copies[1], copies[4]]
    assert n_decoded.total() == 1
    inputs = [isinstance(item, ImageError) for item in stream_inputs(words, Images(copies))]
    assert np.flatnonzero(inputs).tolist() == [1, 4]


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.filterwarnings("ignore::featx.errors.DamagedRowWarning")
def test_every_image_is_reported_once(
    store: FeatureStore, photos: list[str], copies: list[str], tmp_path: Path, damaged: bool
) -> None:
    words = Words(3, store=store).fit(photos[:4])
    words.transform(photos[:2])
    if damaged:
        damage_a_row(store)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    total = Total()
    stream_rows(words, Images([*photos, *copies, tmp_path / "broken.jpg"]), progress=total)
    assert total.plans == [(25, 4)]
    assert total.n_done == 25


class NotFinite(ColorHistogram):
    """Infinite for the second image."""

    def _extract(self, batch: Sequence[Any]) -> Any:
        rows = super()._extract(batch)
        rows[:, 0] = np.where(rows[:, 0] == self.bad, np.inf, rows[:, 0])
        return rows


@pytest.mark.parametrize("is_stored", [True, False])
def test_features_that_are_not_finite_are_told_cold_and_warm(
    store: FeatureStore, photos: list[str], is_stored: bool
) -> None:
    extractor = NotFinite(store=store if is_stored else None)
    extractor.bad = ColorHistogram().transform(photos[1:2])[0, 0]  # type: ignore[attr-defined]
    for _ in range(2):
        with pytest.warns(NonFiniteRowsWarning, match=f"for 1 of {len(photos)} images"):
            extractor.transform(photos)


def test_rows_of_another_value_range_are_other_rows(
    store: FeatureStore, photos: list[str], n_decoded: Counter[str]
) -> None:
    extractor = MeanColor(store=store)
    plain = stream_rows(extractor, Images(photos)).matrix()
    for _ in range(2):
        rows = stream_rows(extractor, Images(photos, value_range=(0, 510))).matrix()
        np.testing.assert_allclose(rows, plain / 2, rtol=1e-5)
    assert set(n_decoded.values()) == {2}
    np.testing.assert_array_equal(stream_rows(extractor, Images(photos)).matrix(), plain)


@pytest.mark.parametrize("is_stored", [False, True])
def test_each_band_has_rows_of_its_own_side_by_side(store: FeatureStore, is_stored: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 4), dtype=np.uint8)
    extractor = MeanColor(store=store if is_stored else None)
    rows = stream_rows(extractor, Images(values, bands="each")).matrix()
    expected = values.mean((1, 2))  # (3, 4)
    np.testing.assert_allclose(rows, np.repeat(expected, 3, axis=1), rtol=1e-6)


def test_an_image_that_lacks_a_band_is_one_failure() -> None:
    images = [np.zeros((8, 8, 5), np.uint8), np.zeros((8, 8), np.uint8)]
    rows = stream_rows(MeanColor(), Images(images, bands="each"))
    assert [failure.index for failure in rows.failures] == [1]
    assert np.isnan(rows.matrix()[1]).all()
    assert not np.isnan(rows.matrix()[0]).any()


def test_progress_of_bands_is_that_of_their_images() -> None:
    class Listener(ProgressCallback):
        n_planned = n_done = 0

        def plan(self, n_images: int, n_cached: int) -> None:
            self.n_planned += n_images

        def advance(self, n_images: int) -> None:
            self.n_done += n_images

    listener = Listener()
    images = Images(np.zeros((7, 8, 8, 5), np.uint8), bands="each")
    stream_rows(MeanColor(), images, progress=listener)
    assert (listener.n_planned, listener.n_done) == (7, 7)
