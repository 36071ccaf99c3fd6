"""Every exception and warning of featx.

::

    FeatxError                  one line: what, wanted, given, cure
    ├── ImageError              a picture cannot be decoded        .name .reason
    ├── DatasetError            a folder, manifest or data set name is wrong
    ├── SpecError               an extractor SPEC is wrong (also a ValueError)
    ├── ModelError              a network is not known or cannot be built (ValueError)
    │   └── WeightsError        weights missing, or not those of the network
    ├── LayerError              a layer is not in the network (ValueError)   .layer .nearest
    ├── TrainingError           a network cannot be trained as asked (RuntimeError)
    ├── ProjectionError         features cannot be mapped or measured as asked (ValueError)
    ├── FeatureFileError        a feature file cannot be read, or must not be written
    ├── ResultFileError         a folder of results cannot be read or written
    ├── StoreError              the store on disk refuses or is full (OSError)
    └── BrokenLawError          an extractor fails `check_extractor` (AssertionError)   .broken

    FeatxWarning (UserWarning)
    ├── DamagedRowWarning       a stored row failed its check and is computed anew
    └── EmptyRowsWarning        pictures without any key point got rows of zeros

Errors about a wrong parameter are also `ValueError`, so that scikit-learn's users catch
what they expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class FeatxError(Exception):
    """Anything that featx reports to its user, in one line."""


class ImageError(FeatxError, ValueError):
    """A picture cannot be decoded.

    Parameters
    ----------
    name : str
        The picture's path, or its place in the input.
    reason : str
        Why it cannot be decoded.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class DatasetError(FeatxError, ValueError):
    """A folder, manifest or data set name does not lead to pictures."""


class SpecError(FeatxError, ValueError):
    """An extractor SPEC cannot be read."""


class ModelError(FeatxError, ValueError):
    """A network is not known or cannot be built."""


class WeightsError(ModelError):
    """Weights are missing, or are not those of the network."""


class LayerError(FeatxError, ValueError):
    """A layer is not in the network.

    Parameters
    ----------
    layer : str
        The name asked for.
    model : str
        The network's name.
    nearest : sequence of str
        The layers with the most similar names, best first.
    """

    def __init__(self, layer: str, model: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(layer, model, tuple(nearest))
        self.layer = layer
        self.model = model
        self.nearest = tuple(nearest)

    def __str__(self) -> str:
        guess = f" Did you mean {' or '.join(map(repr, self.nearest))}?" if self.nearest else ""
        return (
            f"Layer {self.layer!r} is not in {self.model}.{guess} See `featx layers {self.model}`."
        )


class TrainingError(FeatxError, RuntimeError):
    """A network cannot be trained as asked: its loss is not finite, or what is frozen moved."""


class ProjectionError(FeatxError, ValueError):
    """Features cannot be mapped or measured as asked."""


class FeatureFileError(FeatxError, ValueError):
    """A feature file cannot be read, or must not be written."""


class ResultFileError(FeatxError, ValueError):
    """A folder of results cannot be read or written."""


class StoreError(FeatxError, OSError):
    """The store on disk refuses to be used, or is full."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BrokenLawError(FeatxError, AssertionError):
    """An extractor breaks laws that featx relies on; see `featx.testing`.

    Parameters
    ----------
    extractor : str
        The extractor's class.
    broken : mapping of str to str
        Each broken law, and what was wanted and what came.
    """

    def __init__(self, extractor: str, broken: Mapping[str, str]) -> None:
        super().__init__(extractor, dict(broken))
        self.extractor = extractor
        self.broken = dict(broken)

    def __str__(self) -> str:
        laws = [f"{self.extractor}: {law}: {reason}." for law, reason in self.broken.items()]
        return "\n".join(laws)


class FeatxWarning(UserWarning):
    """Something the user should know, though the result stands."""


class DamagedRowWarning(FeatxWarning):
    """A stored row failed its check and is computed anew."""


class EmptyRowsWarning(FeatxWarning):
    """Pictures without any key point got rows of zeros."""
