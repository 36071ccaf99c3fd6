"""Cost of features: milliseconds per image, measured without the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from featx.data.images import Images
from featx.engine.persistence import portable
from featx.process.phases import phase

_N_TIMED = 64
_N_ROUNDS = 4


@phase("measure cost")
def time_extraction(extractor: Any, images: Images, *, n_jobs: int | None = None) -> float:
    """Milliseconds per image from file to features, without any store.

    Parameters
    ----------
    extractor : Extractor
        Fitted, if it learns.
    images : Images
        At most `_N_TIMED` of them are used, evenly spread, in a few rounds of which the quickest
        counts: other programs only slow one down. One image is extracted before the clock
        starts, so that networks are loaded and kernels compiled.
    n_jobs : int, optional
    """
    timed = portable(extractor).set_params(n_jobs=n_jobs, on_error="nan")
    return _time_quickest(timed.transform, _sample(images))


@phase("measure cost")
def time_prediction(classifier: Any, images: Images) -> float:
    """Milliseconds per image from file to probabilities, as `time_extraction` measures them.

    Parameters
    ----------
    classifier : FineTunedClassifier
        Fitted.
    images : Images
    """
    return _time_quickest(classifier.predict_proba, _sample(images))


def _sample(images: Images) -> Images:
    n_timed = min(_N_TIMED, len(images))
    return images.take([index * len(images) // n_timed for index in range(n_timed)])


def _time_quickest(run: Callable[[Images], Any], images: Images) -> float:
    run(images.take([0]))
    rounds = [range(start, len(images), _N_ROUNDS) for start in range(min(_N_ROUNDS, len(images)))]
    return min(_time(run, images.take(list(indices))) for indices in rounds)


def _time(run: Callable[[Images], Any], images: Images) -> float:
    started = time.perf_counter()
    run(images)
    return 1000 * (time.perf_counter() - started) / len(images)
