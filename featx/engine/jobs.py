"""Turn SPECs into jobs: one pass over the images for each extractor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featx.data.reading import Reading, make_reading
from featx.engine.persistence import portable
from featx.engine.specs import make_extractor, spec_of
from featx.errors import SpecError
from featx.extractors.base import INPUT_PARAMETERS, READING_PARAMETERS, reading_of

_DEFAULT_MODEL = "featxnet"
_FOR_READING = {"trust"}
"""Parameters that concern reading an extractor's file, rather than the extractor."""


@dataclass
class Job:
    """One pass over the images: an extractor, and the names of its blocks of columns.

    Attributes
    ----------
    extractor : Extractor
    names : dict
        Layer of the extractor -> name of its block of columns.
    n_bands : int, default=1
        Bands that are extracted as images of their own, one after the other.
    """

    extractor: Any
    names: dict[str, str]
    n_bands: int = 1

    def read_as(self, reading: Reading, n_bands: int) -> None:
        """Adapt the job to how the images are read.

        Parameters
        ----------
        reading : Reading
            The first convolution of a network is adapted to its bands.
        n_bands : int
            Bands that are extracted as images of their own.

        Raises
        ------
        SpecError
            If the extractor has parameters for reading images that differ from `reading`.
        """
        own = reading_of(self.extractor)
        if own and make_reading(**own) != reading:
            name, value = next(iter(own.items()))
            raise SpecError(
                f"{type(self.extractor).__name__}: {name}={value!r} describes the images, not the "
                "features; give it to extract(...) or load_dataset (on the command line "
                f"--{name.replace('_', '-')}), so that these images are read so."
            )
        self.n_bands = n_bands
        if hasattr(self.extractor, "layer") and reading.n_bands != self.extractor.n_bands:
            self.extractor.set_params(bands=reading.bands)

    @property
    def widths(self) -> dict[str, int]:
        """Layer -> number of columns."""
        return {layer: self.n_bands * self.extractor.n_features(layer) for layer in self.names}


def plan_jobs(
    extractors: Any = None,
    *,
    model: str | None = None,
    layer: str | Sequence[str] | None = None,
    **parameters: Any,
) -> list[Job]:
    """Jobs that compute the features of the given extractors.

    Networks that differ in nothing but the layer share one pass.

    Parameters
    ----------
    extractors, model, layer, **parameters
        As in `extract`.

    Returns
    -------
    list of Job

    Raises
    ------
    SpecError
        If an extractor is unknown or given twice, if no extractor has one of `parameters`, or if
        an extractor has parameters for reading images, which are already open.

    Examples
    --------
    >>> [job.names for job in plan_jobs(["color", "hog,cell_px=16"])]
    [{'': 'color'}, {'': 'hog,cell_px=16'}]
    """
    items = list(extractors) if isinstance(extractors, list | tuple) else [extractors]
    items = [item for item in items if item is not None]
    if layer is not None and model is None and items:
        raise SpecError("layer goes with model; name the network too, or put it in the SPEC.")
    parameters = {"on_error": "nan"} | parameters
    jobs = [Job(_extractor(item, parameters), {"": _name(item)}) for item in items]
    if model is not None or not items:
        jobs.append(_network(model or _DEFAULT_MODEL, layer, parameters))
    _check_parameters(jobs, parameters)
    for job in jobs:
        _check_reading(job.extractor)
    jobs = _merge_networks(jobs)
    _check_names([name for job in jobs for name in job.names.values()])
    return jobs


def _extractor(item: Any, parameters: dict[str, Any]) -> Any:
    """Extractor of a SPEC, or a copy of an extractor with its learned state."""
    if isinstance(item, str | os.PathLike):
        return make_extractor(os.fspath(item), **parameters)
    names = item.get_params(deep=False)
    return portable(item).set_params(**{k: v for k, v in parameters.items() if k in names})


def _name(item: Any) -> str:
    return os.fspath(item) if isinstance(item, str | os.PathLike) else spec_of(item)


def _network(model: str, layer: Any, parameters: dict[str, Any]) -> Job:
    layers = [layer] if isinstance(layer, str | int) else list(layer or ["-1"])
    extractor = make_extractor("cnn", model=model, layer=layers, **parameters)
    return Job(extractor, {})


def _merge_networks(jobs: list[Job]) -> list[Job]:
    """Jobs, with one for all networks that differ only in the layer."""
    groups: dict[str, list[Job]] = {}
    for index, job in enumerate(jobs):
        params = job.extractor.get_params(deep=False)
        is_network = params.pop("layer", None) is not None
        key = repr((type(job.extractor), sorted(params.items(), key=str)))
        groups.setdefault(key if is_network else str(index), []).append(job)
    is_alone = len(groups) == 1
    return [_merge(group, is_alone=is_alone) for group in groups.values()]


def _merge(group: list[Job], *, is_alone: bool) -> Job:
    """One job for a group; its blocks are named by layer if it is the only network."""
    extractor = group[0].extractor
    if not hasattr(extractor, "layer"):
        return group[0]
    layers = [layer for job in group for layer in job.extractor.layers]
    specs = [spec for job in group for spec in _block_specs(job)]
    extractor = portable(extractor).set_params(
        layer=layers, store=extractor.store, n_jobs=extractor.n_jobs
    )
    names = layers if is_alone else specs
    _check_names(names)
    return Job(extractor, dict(zip(layers, names, strict=True)))


def _block_specs(job: Job) -> list[str]:
    """Names of a job's blocks if it has one per layer, else the SPEC of each layer by itself."""
    layers = job.extractor.layers
    if len(job.names) == len(layers):
        return list(job.names.values())
    alone = (portable(job.extractor).set_params(layer=layer) for layer in layers)
    return [spec_of(layer, is_full=True) for layer in alone]


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise SpecError(f"{name!r} is given twice; give it once.")


def _check_parameters(jobs: list[Job], parameters: dict[str, Any]) -> None:
    """Raise if no extractor has a parameter, which would change nothing."""
    known = {key for job in jobs for key in job.extractor.get_params(deep=False)}
    for key in parameters:
        if key not in known | _FOR_READING:
            names = ", ".join(sorted({type(job.extractor).__name__ for job in jobs}))
            raise SpecError(f"{names} has no parameter {key!r}; it has {', '.join(sorted(known))}.")


def _check_reading(extractor: Any) -> None:
    """Raise if an extractor has parameters for reading images, which are already open."""
    default = type(extractor)().get_params(deep=False)
    for key in sorted(INPUT_PARAMETERS & default.keys() - set(READING_PARAMETERS)):
        if getattr(extractor, key) != default[key]:
            raise SpecError(
                f"{type(extractor).__name__}: {key} describes the images, not the features, and "
                "would change nothing here. Give it to extract(...) or load_dataset."
            )
