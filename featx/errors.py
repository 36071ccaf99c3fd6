"""Every exception and warning of featx.

::

    FeatxError                  one line: what, expected, got, cure
    ├── ImageError              an image cannot be decoded        .name .reason
    ├── DatasetError            a folder, manifest or data set name is wrong
    ├── SpecError               an extractor SPEC is wrong (also a ValueError)
    ├── ModelError              a network is not known or cannot be built (ValueError)
    │   └── WeightsError        weights missing, or not those of the network
    ├── LayerError              a layer is not in the network (ValueError)   .layer .nearest
    ├── TrainingError           a network cannot be trained as asked (RuntimeError)
    ├── ProjectionError         features cannot be mapped or measured as asked (ValueError)
    ├── FeatureFileError        a feature file cannot be read, or must not be written
    ├── NotEnoughMemoryError    a task would not fit into memory (also a MemoryError)
    ├── ResultFileError         a folder of results cannot be read or written
    ├── StoreError              the store on disk refuses or is full (OSError)
    ├── SchedulerError          a cluster cannot be reached, or loses its workers
    ├── UnsafeFolderError       others could change a folder          .component .reason .cure
    └── BrokenLawError          an extractor fails `check_extractor` (AssertionError)   .broken

    FeatxWarning (UserWarning)
    ├── DamagedRowWarning       a stored row failed its check and is computed anew
    ├── UnstoredRowsWarning     rows are not stored, for their fingerprint lacks a part
    ├── ValueRangeWarning       nobody said which stored values are black and white
    ├── PagesWarning            one page is read of a file that has several
    ├── SeveralWeightsWarning   a checkpoint holds weights of several networks
    ├── NonFiniteRowsWarning    features are NaN or infinite
    └── EmptyRowsWarning        images without any key point got rows of zeros

Errors about a wrong parameter are also `ValueError`, so that scikit-learn's users catch
what they expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

_N_NEAREST, _CUTOFF = 3, 0.6
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069]")
"""Those of terminals, of lines, and of the direction of text."""


class FeatxError(Exception):
    """Anything that featx reports to its user, in one line."""


class ImageError(FeatxError, ValueError):
    """An image cannot be decoded.

    Parameters
    ----------
    name : str
        The image's path, or its place in the input.
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
    """A folder, manifest or data set name does not lead to images."""


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
        guess = _question(self.nearest)
        return (
            f"Layer {self.layer!r} is not in {self.model}.{guess} See `featx layers {self.model}`."
        )


class TrainingError(FeatxError, RuntimeError):
    """A network cannot be trained as asked: its loss is not finite, or what is frozen moved."""


class ProjectionError(FeatxError, ValueError):
    """Features cannot be mapped or measured as asked."""


class FeatureFileError(FeatxError, ValueError):
    """A feature file cannot be read, or must not be written."""


class NotEnoughMemoryError(FeatxError, MemoryError):
    """A task would take more memory than there is; said before it is begun."""


class ResultFileError(FeatxError, ValueError):
    """A folder of results cannot be read or written."""


class StoreError(FeatxError, OSError):
    """The store on disk refuses to be used, or is full."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SchedulerError(FeatxError, ConnectionError):
    """A cluster cannot be reached, or loses its workers."""


class UnsafeFolderError(FeatxError):
    """A folder or file that others could change.

    Parameters
    ----------
    component : Path
        The part of the path that others could change.
    reason : str
        What is wrong with it, a clause.
    cure : str
        The command that closes it, empty where there is none.
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


class UnstoredRowsWarning(FeatxWarning):
    """Rows are computed anew by each run: a part of what makes them is in no fingerprint."""


class ValueRangeWarning(FeatxWarning):
    """Values leave black and white or fill little between, and nobody said what these are."""


class PagesWarning(FeatxWarning):
    """One page is read of a file that has several, and nobody said which."""


class SeveralWeightsWarning(FeatxWarning):
    """A checkpoint holds weights of several networks, such as averaged ones beside the last."""


class NonFiniteRowsWarning(FeatxWarning):
    """Features are NaN or infinite: no classifier and no map takes them."""


class EmptyRowsWarning(FeatxWarning):
    """Images without any key point got rows of zeros."""


def did_you_mean(name: str, candidates: Iterable[str], *, prefix: str = "") -> str:
    """Question whether one of the nearest names was meant; empty where none is near.

    Parameters
    ----------
    name : str
        What the user wrote.
    candidates : iterable of str
        What is known.
    prefix : str
        Stands before each name that is offered, and does not count in the comparison.

    Returns
    -------
    str
        Begins with a space: to be put after the sentence that says what is wrong.

    Examples
    --------
    >>> did_you_mean("alexent", ["alexnet", "vgg11"])
    " Did you mean 'alexnet'?"
    >>> did_you_mean("resnet", ["vgg11"])
    ''
    """
    return _question([prefix + near for near in nearest_names(name, candidates)])


def nearest_names(name: str, candidates: Iterable[str]) -> list[str]:
    """Candidates most like a name, whatever the case of their letters, in the order given.

    At most three, all equally near: a second best would be a guess beside a better one.

    Examples
    --------
    >>> nearest_names("VGG1", ["vgg11", "vgg13", "alexnet"])
    ['vgg11', 'vgg13']
    """
    lowered: dict[str, str] = {}
    for candidate in candidates:
        lowered.setdefault(candidate.lower(), candidate)
    near = get_close_matches(name.lower(), lowered, _N_NEAREST, _CUTOFF)
    ratios = {match: SequenceMatcher(None, match, name.lower()).ratio() for match in near}
    tied = {match for match in ratios if ratios[match] == max(ratios.values())}
    return [candidate for lower, candidate in lowered.items() if lower in tied]


def visible(text: str) -> str:
    r"""Text whose control characters stand as codes: a file's name moves no cursor.

    Examples
    --------
    >>> print(visible("a\x1b[31m\nb.png"))
    a\x1b[31m\nb.png
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(error: BaseException) -> str:
    r"""What an error says, on one line; the name of its class where it says nothing.

    Examples
    --------
    >>> one_line(ValueError("two\n  lines")), one_line(KeyError())
    ('two lines', 'KeyError')
    """
    try:
        said = str(error)
    except Exception:  # An exception of the user's own may fail at this, too.
        said = ""
    return " ".join(said.split()) or type(error).__name__


def _question(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""
