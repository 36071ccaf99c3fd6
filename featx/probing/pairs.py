"""What features keep from one domain to another: figures of ordered pairs, and their averages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.scores import SURE, Floats, Interval, interval

N_RESAMPLES = 2000
MEAN = "mean"


@dataclass(frozen=True, eq=False)
class Crossing:
    """Accuracies of one kind of features over all ordered pairs of domains.

    Attributes
    ----------
    spec : str
    alignment : {"none", "coral"}
    pairs : list of (str, str)
        Source and target.
    source, target, domain : ndarray of shape (n_pairs, n_seeds)
        Accuracy on the source's test pictures, on the target's, and of telling the two apart.
    chance : ndarray of shape (n_pairs, 2)
        What naming the most frequent class reaches within source and target.
    test_share : float
        Test pictures for each training picture.
    """

    spec: str
    alignment: str
    pairs: list[tuple[str, str]]
    source: Floats
    target: Floats
    domain: Floats
    chance: Floats
    test_share: float

    @property
    def name(self) -> str:
        """The SPEC without the folders of files."""
        return re.sub(r"(weights=\"?)[^,\"]*/", r"\1", self.spec)

    @property
    def lost(self) -> Floats:
        """Points lost from source to target: (n_pairs, n_seeds)."""
        return 100 * (self.source - self.target)

    @property
    def kept(self) -> Floats:
        """Accuracies above chance within target and source: (2, n_pairs, n_seeds)."""
        return np.stack([self.target - self.chance[:, 1:], self.source - self.chance[:, :1]])

    def rows(self, plain: Crossing) -> list[dict[str, Any]]:
        """A line for the average over pairs, then one for each pair.

        Parameters
        ----------
        plain : Crossing
            The same features without alignment, for what the alignment adds.
        """
        average = self._row(MEAN, MEAN, slice(None), plain, crossed_interval, crossed_share)
        return [average] + [
            self._row(*pair, slice(place, place + 1), plain, self._of_seeds, _share_of_one)
            for place, pair in enumerate(self.pairs)
        ]

    def _row(
        self, source: str, target: str, places: slice, plain: Crossing, mean: Any, share: Any
    ) -> dict[str, Any]:
        reached, lost = mean(self.target[places]), mean(self.lost[places])
        kept = share(self.kept[:, places])
        gain = mean(100 * (self.target - plain.target)[places])
        return {
            "spec": self.spec,
            "alignment": self.alignment,
            "source": source,
            "target": target,
            "source_accuracy": float(self.source[places].mean()),
            "target_accuracy": reached.mean,
            "low": None if np.isnan(reached.low) else max(0.0, reached.low),
            "high": None if np.isnan(reached.high) else min(1.0, reached.high),
            **_named("points_lost", lost),
            **_named("share_kept", kept),
            "domain_accuracy": float(self.domain[places].mean()),
            **(_named("points_gained", gain) if self is not plain else {}),
        }

    def _of_seeds(self, values: Floats) -> Interval:
        if values.size == 1:
            return Interval(float(values[0, 0]), np.nan, np.nan)
        return interval(values.ravel(), test_share=self.test_share)


def crossed_interval(values: Floats) -> Interval:
    """Mean over pairs and seeds, with its 95 % interval over both drawn anew.

    Parameters
    ----------
    values : ndarray of shape (n_pairs, n_seeds)

    Notes
    -----
    The pigeonhole bootstrap [1]_: pairs and seeds are drawn with replacement, each by
    themselves, because figures of one pair resemble each other, and so do those of one seed.
    With few pairs it is rough.

    References
    ----------
    .. [1] Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007) 386-411.

    Examples
    --------
    >>> crossed_interval(np.full((3, 2), 0.5))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    return Interval(float(values.mean()), *_ends(_means(values)))


def crossed_share(values: Floats) -> Interval | None:
    """Ratio of two means over pairs and seeds, with its interval as in `crossed_interval`.

    Parameters
    ----------
    values : ndarray of shape (2, n_pairs, n_seeds)
        What is kept, and what of.

    Returns
    -------
    Interval or None
        None where there is nothing to keep: the mean of what of is not above 0.
    """
    found = _share_of_one(values)
    below = _means(values[1])
    if found is None or below.min() <= 0:
        return found
    return Interval(found.mean, *_ends(_means(values[0]) / below))


def describe_crossings(crossings: Sequence[Crossing]) -> list[str]:
    """What the averages say, in words, each sentence naming what it speaks of.

    Parameters
    ----------
    crossings : sequence of Crossing
        Of each kind of features without alignment and with it.

    Returns
    -------
    list of str
    """
    plain = sorted(
        (found for found in crossings if found.alignment == "none"),
        key=lambda found: -found.target.mean(),
    )
    moved = {found.spec: found for found in crossings if found.alignment != "none"}
    aligned = [moved[found.spec] for found in plain]
    said = [_first(plain[0])]
    said += [sentence for other in plain[1:] for sentence in _differences(plain[0], other)]
    said += [_gain(*both) for both in zip(aligned, plain, strict=True)]
    return [*said, _told_apart(plain, aligned)]


def compare_crossings(crossings: Sequence[Crossing]) -> list[dict[str, Any]]:
    """Differences of each two kinds of features on the same pairs and seeds.

    Parameters
    ----------
    crossings : sequence of Crossing

    Returns
    -------
    list of dict
        Of the first from the second: in target accuracy and in what is lost, in points, and in
        the share kept, each with its interval.
    """
    return [
        {"spec": first.spec, "than": second.spec, "alignment": first.alignment}
        | _named("target_points", _difference(first, second))
        | _named("points_lost", crossed_interval(first.lost - second.lost))
        | _named("share_kept", _difference_of_shares(first, second))
        for place, first in enumerate(crossings)
        for second in crossings[place + 1 :]
        if first.alignment == second.alignment
    ]


def _first(best: Crossing) -> str:
    return (
        f"Target accuracy: {best.name} reaches {_figure(crossed_interval(best.target))} on domains "
        f"it was not trained on, {best.source.mean():.3f} within its own."
    )


def _differences(best: Crossing, other: Crossing) -> list[str]:
    """How other features stand to the best: on the target, in points lost, in share kept."""
    ahead = _difference(best, other)
    doubt = "; chance alone may do that" if _has_zero(ahead) else ""
    return [
        f"Target accuracy: {other.name} is {_points(ahead)} behind {best.name} on the same pairs "
        f"and seeds{doubt}.",
        _of_loss(best, other),
        _of_share(best, other),
    ]


def _of_loss(best: Crossing, other: Crossing) -> str:
    lost = crossed_interval(best.lost - other.lost)
    said = (
        f"Points lost: {best.name} {best.lost.mean():.1f}, {other.name} {other.lost.mean():.1f}; "
    )
    if _has_zero(lost):
        return f"{said}chance alone may make that difference."
    loser, keeper = (best, other) if lost.mean > 0 else (other, best)
    starts = f"{loser.source.mean():.3f} against {keeper.source.mean():.3f} within the source"
    if loser.source.mean() > keeper.source.mean():
        return f"{said}{loser.name} loses more and starts higher, {starts}."
    return f"{said}{loser.name} loses more though it starts no higher, {starts}."


def _of_share(best: Crossing, other: Crossing) -> str:
    difference = _difference_of_shares(best, other)
    shares = {found.name: _share_of_one(found.kept) for found in (best, other)}
    if difference is None:
        return "Share kept: not told apart; one is hardly better than chance within the source."
    said = (
        "Share kept of the accuracy above chance: "
        f"{', '.join(f'{name} {share.mean:.2f}' for name, share in shares.items() if share)}; "
    )
    if _has_zero(difference):
        return f"{said}chance alone may make that difference."
    return f"{said}{(best if difference.mean > 0 else other).name} keeps more."


def _gain(found: Crossing, plain: Crossing) -> str:
    gain = _difference(found, plain)
    doubt = "; chance alone may do that" if _has_zero(gain) else ""
    if gain.mean < 0:
        return f"CORAL takes {_points(_negative(gain))} from {found.name} on the target{doubt}."
    return f"CORAL adds {_points(gain)} to {found.name} on the target{doubt}."


def _told_apart(plain: Sequence[Crossing], aligned: Sequence[Crossing]) -> str:
    told = ", ".join(
        f"{bare.name} {bare.domain.mean():.3f} ({moved.domain.mean():.3f} after CORAL)"
        for bare, moved in zip(plain, aligned, strict=True)
    )
    return f"Domains told apart by a linear classifier, where 0.5 is chance: {told}."


def _difference(first: Crossing, second: Crossing) -> Interval:
    """Points of target accuracy by which the first features are ahead."""
    return crossed_interval(100 * (first.target - second.target))


def _difference_of_shares(first: Crossing, second: Crossing) -> Interval | None:
    one, two = (_share_of_one(found.kept) for found in (first, second))
    if one is None or two is None:
        return None
    below = [_means(found.kept[1]) for found in (first, second)]
    if min(part.min() for part in below) <= 0:
        return None
    above = [_means(found.kept[0]) for found in (first, second)]
    return Interval(one.mean - two.mean, *_ends(above[0] / below[0] - above[1] / below[1]))


def _share_of_one(values: Floats) -> Interval | None:
    """Ratio of two means without an interval; None where there is nothing to keep."""
    above, below = values[0].mean(), values[1].mean()
    return Interval(float(above / below), np.nan, np.nan) if below > 0 else None


def _means(values: Floats) -> Floats:
    """Means over pairs and seeds drawn anew, the same draws at every call."""
    n_pairs, n_seeds = values.shape
    rng = np.random.default_rng(0)
    pairs = rng.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), N_RESAMPLES)
    seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), N_RESAMPLES)
    means: Floats = ((pairs @ values) * seeds).sum(1) / values.size
    return means


def _ends(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)


def _named(name: str, found: Interval | None) -> dict[str, float | None]:
    """A figure and the ends of its interval, None where there is none."""
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = (None if np.isnan(end) else end for end in found[1:])
    return {name: found.mean, f"{name}_low": low, f"{name}_high": high}


def _has_zero(found: Interval) -> bool:
    return found.low <= 0 <= found.high


def _negative(found: Interval) -> Interval:
    return Interval(-found.mean, -found.high, -found.low)


def _figure(found: Interval) -> str:
    return f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})"


def _points(found: Interval) -> str:
    return f"{found.mean:.1f} points ({found.low:.1f} to {found.high:.1f})"
