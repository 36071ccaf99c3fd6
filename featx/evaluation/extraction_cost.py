"""What features cost: milliseconds a picture, measured anew."""

from __future__ import annotations

import time
from typing import Any

from featx.data.images import Images
from featx.engine.persistence import portable

_N_TIMED = 64
_N_ROUNDS = 4


def time_extraction(extractor: Any, images: Images, *, n_jobs: int | None = None) -> float:
    """Milliseconds a picture from file to features, without any store.

    Parameters
    ----------
    extractor : Extractor
        Fitted, if it learns.
    images : Images
        At most `_N_TIMED` of them are used, evenly spread, in a few rounds of which the quickest
        counts: other programs only slow one down. One picture is extracted before the clock
        starts, so that networks are loaded and kernels compiled.
    n_jobs : int, optional
    """
    n_timed = min(_N_TIMED, len(images))
    some = images.take([index * len(images) // n_timed for index in range(n_timed)])
    timed = portable(extractor).set_params(n_jobs=n_jobs, on_error="nan")
    timed.transform(some.take([0]))
    rounds = [range(start, len(some), _N_ROUNDS) for start in range(min(_N_ROUNDS, len(some)))]
    return min(_time(timed, some.take(list(indices))) for indices in rounds)


def _time(extractor: Any, images: Images) -> float:
    started = time.perf_counter()
    extractor.transform(images)
    return 1000 * (time.perf_counter() - started) / len(images)
