"""What features keep from one domain to another: figures of ordered pairs, and their averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featx.evaluation.scores import (
    SURE,
    Floats,
    Interval,
    interval,
)
from featx.features.spec_labels import short_specs

N_RESAMPLES = 2000
MEAN = "mean"
_ARRAYS = ("source", "target", "domain", "chance")


@dataclass(frozen=True, eq=False)
class DomainPair:
    """Accuracies of one feature set over all ordered pairs of domains.

    Attributes
    ----------
    spec : str
    alignment : {"none", "coral"}
    pairs : list of (str, str)
        Source and target.
    source, target, domain : ndarray of shape (n_pairs, n_seeds)
        Accuracy on the source's test images, on the target's, and of telling the two apart.
    chance : ndarray of shape (n_pairs, 2)
        What naming the most frequent class reaches within source and target.
    test_share : float
        Test images for each training image.
    has_converged : bool, default=True
        The classifier, in every pair and seed.
    """

    spec: str
    alignment: str
    pairs: list[tuple[str, str]]
    source: Floats
    target: Floats
    domain: Floats
    chance: Floats
    test_share: float
    has_converged: bool = True

    @property
    def name(self) -> str:
        """The SPEC as sentences name it."""
        return short_specs([self.spec])[self.spec]

    @property
    def lost(self) -> Floats:
        """Points lost from source to target: (n_pairs, n_seeds)."""
        return 100 * (self.source - self.target)

    @property
    def kept(self) -> Floats | None:
        """Values whose mean is the share kept of the accuracy above chance: (n_pairs, n_seeds).

        None where there is nothing to keep. The share is one mean over another, not a mean of
        shares, which a pair near chance would make meaningless; around it the values spread as
        the ratio of the means does, to first order.
        """
        above, below = self.target - self.chance[:, 1:], self.source - self.chance[:, :1]
        if below.mean() <= 0:
            return None
        share = above.mean() / below.mean()
        return share + (above - share * below) / below.mean()

    def take(self, index: int) -> DomainPair:
        """One pair."""
        part = slice(index, index + 1)
        arrays = {name: getattr(self, name)[part] for name in _ARRAYS}
        return replace(self, pairs=self.pairs[part], **arrays)

    def rows(self, plain: DomainPair, best: DomainPair) -> list[dict[str, Any]]:
        """A line for the average over pairs, then one for each pair.

        Parameters
        ----------
        plain : DomainPair
            The same features without alignment, for what the alignment adds.
        best : DomainPair
            Those that the average is compared to.
        """
        is_plain = self is plain
        average = self._row(MEAN, MEAN, None if is_plain else plain)
        behind = self.interval(best.target - self.target, 1.0)
        return [average | _named("difference", behind)] + [
            self.take(index)._row(*pair, None if is_plain else plain.take(index))
            for index, pair in enumerate(self.pairs)
        ]

    def interval(self, values: Floats, largest: float = np.inf) -> Interval:
        """Mean of values of this shape, with its interval, which ends where values must."""
        mean, low, high = crossed_interval(values, test_share=self.test_share)
        return Interval(mean, float(max(low, -largest)), float(min(high, largest)))

    def points(self, values: Floats) -> Interval:
        """Mean of differences of accuracies in points, with its interval."""
        return self.interval(values, 100.0)

    def ahead(self, other: DomainPair) -> Interval:
        """Points of target accuracy by which these features are ahead of others."""
        return self.points(100 * (self.target - other.target))

    def share_ahead(self, other: DomainPair) -> Interval | None:
        """By how much more of what is above chance these keep than others."""
        mine, theirs = self.kept, other.kept
        return None if mine is None or theirs is None else self.interval(mine - theirs)

    def _row(self, source: str, target: str, plain: DomainPair | None) -> dict[str, Any]:
        reached, kept = self.interval(self.target), self.kept
        return {
            "spec": self.spec,
            "alignment": self.alignment,
            "source": source,
            "target": target,
            "source_accuracy": float(self.source.mean()),
            "target_accuracy": reached.mean,
            "low": None if np.isnan(reached.low) else max(0.0, reached.low),
            "high": None if np.isnan(reached.high) else min(1.0, reached.high),
            **_named("points_lost", self.points(self.lost)),
            **_named("share_kept", None if kept is None else self.interval(kept)),
            "domain_accuracy": float(self.domain.mean()),
            **({} if plain is None else _named("points_gained", self.ahead(plain))),
            "converged": self.has_converged,
        }


def crossed_interval(values: Floats, *, test_share: float = 0.0) -> Interval:
    """Mean over pairs and seeds, with its 95 % interval over both.

    Parameters
    ----------
    values : ndarray of shape (n_pairs, n_seeds)
    test_share : float, default=0
        Test images for each training image, see `featx.evaluation.scores.interval`.

    Returns
    -------
    Interval
        Its ends are NaN for a single value.

    Notes
    -----
    The pigeonhole bootstrap [1]_: pairs and seeds are drawn with replacement, each by
    themselves, because figures of one pair resemble each other, and so do those of one seed.
    Of two domains or one pair only the seeds are resampled: it is Student's interval over
    seeds, and says nothing of other domains.

    References
    ----------
    .. [1] Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007) 386-411.

    Examples
    --------
    >>> crossed_interval(np.full((3, 2), 0.5))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    n_pairs, n_seeds = values.shape
    mean = float(values.mean())
    if n_pairs > 2:
        return Interval(mean, *_ends(values))
    if n_seeds > 1:
        return interval(values.mean(0), test_share=test_share)
    return Interval(mean, np.nan, np.nan)


def describe_pairs(pairs: Sequence[DomainPair]) -> list[str]:
    """What the averages say, in words, each sentence naming what it speaks of.

    Parameters
    ----------
    pairs : sequence of DomainPair
        Of each feature set without alignment and with it.

    Returns
    -------
    list of str
    """
    plain = sorted(
        (pair for pair in pairs if pair.alignment == "none"),
        key=lambda pair: -pair.target.mean(),
    )
    moved = {pair.spec: pair for pair in pairs if pair.alignment != "none"}
    aligned = [moved[pair.spec] for pair in plain]
    sentences = [_first(plain[0])]
    sentences += [sentence for other in plain[1:] for sentence in _differences(plain[0], other)]
    sentences += [_gain(*both) for both in zip(aligned, plain, strict=True)]
    return [*sentences, _separability(plain, aligned)]


def compare_pairs(pairs: Sequence[DomainPair]) -> list[dict[str, Any]]:
    """Differences of each two feature sets on the same pairs and seeds.

    Parameters
    ----------
    pairs : sequence of DomainPair

    Returns
    -------
    list of dict
        Of the first from the second: in target accuracy and in what is lost, in points, and in
        the share kept, each with its interval.
    """
    return [
        {"spec": first.spec, "than": second.spec, "alignment": first.alignment}
        | _named("target_points", first.ahead(second))
        | _named("points_lost", first.points(first.lost - second.lost))
        | _named("share_kept", first.share_ahead(second))
        for index, first in enumerate(pairs)
        for second in pairs[index + 1 :]
        if first.alignment == second.alignment
    ]


def _first(best: DomainPair) -> str:
    return (
        f"Target accuracy: {best.name} reaches {_figure(best.interval(best.target))} on domains "
        f"it was not trained on, {best.source.mean():.3f} within its own."
    )


def _differences(best: DomainPair, other: DomainPair) -> list[str]:
    """Differences of other features to the best: target accuracy, points lost, share kept."""
    ahead = best.ahead(other)
    doubt = "; chance alone may do that" if _has_zero(ahead) else ""
    return [
        f"Target accuracy: {other.name} is {_points(ahead)} behind {best.name} on the same pairs "
        f"and seeds{doubt}.",
        _of_loss(best, other),
        _of_share(best, other),
    ]


def _of_loss(best: DomainPair, other: DomainPair) -> str:
    lost = best.points(best.lost - other.lost)
    sentence = (
        f"Points lost: {best.name} {best.lost.mean():.1f}, {other.name} {other.lost.mean():.1f}; "
    )
    if _has_zero(lost):
        return f"{sentence}chance alone may make that difference."
    loser, keeper = (best, other) if lost.mean > 0 else (other, best)
    starts = f"{loser.source.mean():.3f} against {keeper.source.mean():.3f} within the source"
    if loser.source.mean() > keeper.source.mean():
        return f"{sentence}{loser.name} loses more and starts higher, {starts}."
    return f"{sentence}{loser.name} loses more though it starts no higher, {starts}."


def _of_share(best: DomainPair, other: DomainPair) -> str:
    difference = best.share_ahead(other)
    shares = {pair.name: pair.kept for pair in (best, other)}
    if difference is None:
        lost = " and ".join(name for name, kept in shares.items() if kept is None)
        return f"Share kept: nothing to keep, {lost} is no better than chance within the source."
    figures = ", ".join(
        f"{name} {_rounded(kept.mean(), 2)}" for name, kept in shares.items() if kept is not None
    )
    sentence = f"Share kept of the accuracy above chance: {figures}; "
    if _has_zero(difference):
        return f"{sentence}chance alone may make that difference."
    return f"{sentence}{(best if difference.mean > 0 else other).name} keeps more."


def _gain(aligned: DomainPair, plain: DomainPair) -> str:
    gain = aligned.ahead(plain)
    doubt = "; chance alone may do that" if _has_zero(gain) else ""
    if gain.mean < 0:
        return f"CORAL takes {_points(_negative(gain))} from {aligned.name} on the target{doubt}."
    return f"CORAL adds {_points(gain)} to {aligned.name} on the target{doubt}."


def _separability(plain: Sequence[DomainPair], aligned: Sequence[DomainPair]) -> str:
    accuracies = ", ".join(
        f"{bare.name} {bare.domain.mean():.3f} ({moved.domain.mean():.3f} after CORAL)"
        for bare, moved in zip(plain, aligned, strict=True)
    )
    return f"Accuracy of a linear classifier of the domains (0.5 is chance): {accuracies}."


def _ends(values: Floats) -> tuple[float, float]:
    """Ends of the bootstrap interval of a mean over pairs and seeds."""
    n_pairs, n_seeds = values.shape
    rng = np.random.default_rng(0)
    pairs = rng.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), N_RESAMPLES)
    seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), N_RESAMPLES)
    means = ((pairs @ values) * seeds).sum(1) / values.size
    low, high = np.quantile(means, [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)


def _named(name: str, interval: Interval | None) -> dict[str, float | None]:
    """A figure and the ends of its interval, None where there is none."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = (None if np.isnan(end) else end for end in interval[1:])
    return {name: interval.mean, f"{name}_low": low, f"{name}_high": high}


def _has_zero(interval: Interval) -> bool:
    """Whether there may be no difference: always so where it was measured once."""
    return not (interval.low > 0 or interval.high < 0)


def _negative(interval: Interval) -> Interval:
    return Interval(-interval.mean, -interval.high, -interval.low)


def _figure(interval: Interval) -> str:
    return _ranged([_rounded(number, 3) for number in interval])


def _points(interval: Interval) -> str:
    figures = [_rounded(number, 1) for number in interval]
    return _ranged([f"{figures[0]} points", *figures[1:]])


def _ranged(figures: Sequence[str]) -> str:
    return figures[0] if "nan" in figures else f"{figures[0]} ({figures[1]} to {figures[2]})"


def _rounded(number: float, n_places: int) -> str:
    """Number rounded to some decimals, without a minus before a zero."""
    return f"{round(number, n_places) + 0.0:.{n_places}f}"
