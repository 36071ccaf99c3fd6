"""Every exception and warning of featx.

::

    FeatxError                  base class; the message is one line
    ├── ImageError              an image cannot be decoded (ValueError)      .name .reason
    ├── DatasetError            a folder, manifest or data set name is wrong (ValueError)
    ├── SpecError               an extractor SPEC is invalid (ValueError)
    ├── ModelError              a network is unknown or cannot be built (ValueError)
    │   └── WeightsError        weights are missing or do not fit the network
    ├── LayerError              a layer is not in the network (ValueError)   .layer .nearest
    ├── TrainingError           training failed (RuntimeError)
    ├── ProjectionError         features cannot be embedded or measured (ValueError)
    ├── FeatureFileError        a feature file cannot be read or written (ValueError)
    ├── NotEnoughMemoryError    a task would not fit into memory (MemoryError)
    ├── ResultFileError         a folder of results cannot be read or written (ValueError)
    ├── StoreError              the store cannot be used, or is full (OSError)
    ├── SchedulerError          a cluster cannot be reached, or loses its workers
    ├── UnsafeFolderError       others could change a folder          .component .reason .cure
    └── BrokenLawError          an extractor fails `check_extractor` (AssertionError)   .broken

    FeatxWarning (UserWarning)
    ├── DamagedRowWarning       stored rows failed their checksum and are recomputed
    ├── UnstoredRowsWarning     rows cannot be stored and are recomputed by every run
    ├── ValueRangeWarning       the value range of stored pixels is a guess
    ├── PagesWarning            only the first page of a file is read
    ├── SeveralWeightsWarning   a checkpoint holds weights of several networks
    ├── NonFiniteRowsWarning    features are NaN or infinite
    └── EmptyRowsWarning        images without key points have rows of zeros

The class in parentheses is a second base class. Errors about invalid parameters are also
`ValueError`, as scikit-learn's users expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

_N_NEAREST, _CUTOFF = 3, 0.6
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069]")
"""Control characters, line separators, and characters that change the direction of text."""


class FeatxError(Exception):
    """Base class of all errors that featx reports to the user; the message is one line."""


class ImageError(FeatxError, ValueError):
    """An image cannot be decoded.

    Parameters
    ----------
    name : str
        The image's path, or ``image`` and its index in the input.
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
    """A folder, manifest or data set name is wrong, or contains no images."""


class SpecError(FeatxError, ValueError):
    """An extractor SPEC or another text of the user cannot be parsed."""


class ModelError(FeatxError, ValueError):
    """A network is unknown or cannot be built."""


class WeightsError(ModelError):
    """Weights are missing, or do not fit the network."""


class LayerError(FeatxError, ValueError):
    """A layer is not in the network.

    Parameters
    ----------
    layer : str
        Name of the unknown layer.
    model : str
        Name of the network.
    nearest : sequence of str
        Layers with the most similar names, best first.
    """

    def __init__(self, layer: str, model: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(layer, model, tuple(nearest))
        self.layer = layer
        self.model = model
        self.nearest = tuple(nearest)

    def __str__(self) -> str:
        suggestion = _suggest(self.nearest)
        return (
            f"Layer {self.layer!r} is not in {self.model}.{suggestion} "
            f"See `featx layers {self.model}`."
        )


class TrainingError(FeatxError, RuntimeError):
    """Training failed: the loss is not finite, or frozen parameters have changed."""


class ProjectionError(FeatxError, ValueError):
    """Features cannot be embedded or measured."""


class FeatureFileError(FeatxError, ValueError):
    """A feature file cannot be read or written."""


class NotEnoughMemoryError(FeatxError, MemoryError):
    """A task would need more memory than is available; raised before it starts."""


class ResultFileError(FeatxError, ValueError):
    """A folder of results cannot be read or written."""


class StoreError(FeatxError, OSError):
    """The store cannot be used, or its disk is full."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SchedulerError(FeatxError, ConnectionError):
    """A cluster cannot be reached, or loses its workers."""


class UnsafeFolderError(FeatxError):
    """Other users could change a folder or file.

    Parameters
    ----------
    component : Path
        The part of the path that they could change.
    reason : str
        Why they could, as a clause that follows the path.
    cure : str
        Command that removes their permission; empty if there is none.
    """

    def __init__(self, component: Path, reason: str, cure: str = "") -> None:
        super().__init__(component, reason, cure)
        self.component = component
        self.reason = reason
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.component} {self.reason}"


class BrokenLawError(FeatxError, AssertionError):
    """An extractor breaks laws that featx relies on; see `featx.testing`.

    Parameters
    ----------
    extractor : str
        Name of the extractor's class.
    broken : mapping of str to str
        Each broken law, with the expected and the actual outcome.
    """

    def __init__(self, extractor: str, broken: Mapping[str, str]) -> None:
        super().__init__(extractor, dict(broken))
        self.extractor = extractor
        self.broken = dict(broken)

    def __str__(self) -> str:
        laws = [f"{self.extractor}: {law}: {reason}." for law, reason in self.broken.items()]
        return "\n".join(laws)


class FeatxWarning(UserWarning):
    """Base class of all warnings of featx: the result is valid, but the user should know."""


class DamagedRowWarning(FeatxWarning):
    """Stored rows failed their checksum and are recomputed."""


class UnstoredRowsWarning(FeatxWarning):
    """Rows cannot be stored, or not under a complete fingerprint; every run recomputes them."""


class ValueRangeWarning(FeatxWarning):
    """Stored values exceed the default range of black to white, or fill only a small part of it."""


class PagesWarning(FeatxWarning):
    """Only the first page of a file with several pages is read, as none was selected."""


class SeveralWeightsWarning(FeatxWarning):
    """A checkpoint holds weights of several networks, such as the last and the averaged ones."""


class NonFiniteRowsWarning(FeatxWarning):
    """Features are NaN or infinite, which classifiers and embeddings do not accept."""


class EmptyRowsWarning(FeatxWarning):
    """Images without key points have rows of zeros."""


def did_you_mean(name: str, candidates: Iterable[str], *, prefix: str = "") -> str:
    """Suggest the candidates most similar to a name; empty if none is similar.

    Parameters
    ----------
    name : str
        What the user wrote.
    candidates : iterable of str
        Valid names.
    prefix : str
        Put before each suggested name; not compared.

    Returns
    -------
    str
        A question that starts with a space, to be appended to an error message.

    Examples
    --------
    >>> did_you_mean("alexent", ["alexnet", "vgg11"])
    " Did you mean 'alexnet'?"
    >>> did_you_mean("resnet", ["vgg11"])
    ''
    """
    return _suggest([prefix + nearest for nearest in nearest_names(name, candidates)])


def nearest_names(name: str, candidates: Iterable[str]) -> list[str]:
    """Candidates most similar to a name, ignoring case, in their given order.

    At most three, all equally similar.

    Examples
    --------
    >>> nearest_names("VGG1", ["vgg11", "vgg13", "alexnet"])
    ['vgg11', 'vgg13']
    """
    lowered: dict[str, str] = {}
    for candidate in candidates:
        lowered.setdefault(candidate.lower(), candidate)
    matches = get_close_matches(name.lower(), lowered, _N_NEAREST, _CUTOFF)
    ratios = {match: SequenceMatcher(None, match, name.lower()).ratio() for match in matches}
    tied = {match for match in ratios if ratios[match] == max(ratios.values())}
    return [candidate for lower, candidate in lowered.items() if lower in tied]


def visible(text: str) -> str:
    r"""Text with its control characters escaped, so that file names cannot control a terminal.

    Examples
    --------
    >>> print(visible("a\x1b[31m\nb.png"))
    a\x1b[31m\nb.png
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(error: BaseException) -> str:
    r"""Message of an error on one line; the name of its class if it has no message.

    Examples
    --------
    >>> one_line(ValueError("two\n  lines")), one_line(KeyError())
    ('two lines', 'KeyError')
    """
    try:
        message = str(error)
    except Exception:  # A user-defined exception may raise here, too.
        message = ""
    return " ".join(message.split()) or type(error).__name__


def _suggest(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""
