"""Vocabulary of a bag of words: codebook, projection and weights, and encoding by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from featx._linalg import map_blocks
from featx.extractors.bovw import codebooks, encodings
from featx.extractors.bovw.exact_products import hamming, product
from featx.extractors.bovw.mixtures import Mixture, learn_mixture, posteriors

Doubles: TypeAlias = npt.NDArray[np.float64]
Values: TypeAlias = npt.NDArray[Any]
_Pool: TypeAlias = Callable[[npt.NDArray[np.bool_]], Doubles]


@dataclass(frozen=True)
class Vocabulary:
    """Visual words with the projection, mixture and weights that belong to them.

    Parameters
    ----------
    codebook : ndarray of shape (n_words, d)
        Words: float32; packed bits (uint8); or a mixture's means (float64).
    weights, variances : ndarray of shape (n_words,) and (n_words, d), float64, optional
        Weights and variances of the mixture, for Fisher vectors.
    mean, components : ndarray of shape (d_in,) and (d_in, d), float64, optional
        Mean and principal axes of the descriptors, if they are reduced.
    scale : float, optional
        Mean squared distance to the words, for soft assignment.
    idf : ndarray of shape (n_words,), float64, optional
        Inverse document frequency of each word, for tf-idf.
    """

    codebook: Values
    weights: Any = None
    variances: Any = None
    mean: Any = None
    components: Any = None
    scale: float | None = None
    idf: Any = None

    @property
    def is_binary(self) -> bool:
        """Whether words are packed bits."""
        return bool(self.codebook.dtype == np.uint8)

    def n_columns(self, encoding: str, pyramid_levels: int) -> int:
        """Number of columns of a row."""
        n_words, width = self.codebook.shape
        width = 8 * width if self.is_binary else width
        per_word = {"bow": 1, "vlad": width, "fisher": 2 * width}[encoding]
        return int(encodings.n_cells(pyramid_levels) * n_words * per_word)

    def weigh(self, bags: Iterable[tuple[Any, Values]]) -> Vocabulary:
        """Vocabulary with inverse document frequencies, from positions and values per image.

        Smoothed as in scikit-learn: ln((1 + n_images) / (1 + n_images_with_word)) + 1.
        """
        n_bags, n_with_word = 0, np.zeros(len(self.codebook))
        for _, values in bags:
            n_bags += 1
            n_with_word[self.words_of(values)] += 1
        return replace(self, idf=np.log((1 + n_bags) / (1 + n_with_word)) + 1)

    def encode(
        self,
        positions: Values,
        values: Values,
        *,
        encoding: str,
        pyramid_levels: int,
        norm: str | None,
    ) -> Doubles:
        """Row of one image.

        Parameters
        ----------
        positions : ndarray of shape (k, 2), uint16
            x and y, in 65,536ths of the image's width and height.
        values : ndarray of shape (k, d)
        encoding : {"bow", "vlad", "fisher"}
        pyramid_levels : int
        norm : str or None
            Applied to the whole row for ``"bow"``, to each cell for the others.

        Returns
        -------
        ndarray of shape (n_columns,), float64
        """
        cells = encodings.pyramid_cells(positions, pyramid_levels)
        if encoding == "bow":
            count = self.counter(values)
            counts = ((level, count(members)) for level, members in cells)
            row = encodings.weigh_cells(counts, pyramid_levels)
            if self.idf is not None:
                row *= np.tile(self.idf, len(row) // len(self.idf))
            return encodings.normalize(row, norm, len(row))
        pool = self.differencer(values) if encoding == "vlad" else self.deriver(values)
        n_parts = len(self.codebook) * (2 if encoding == "fisher" else 1)
        rows = (encodings.normalize(pool(members), norm, n_parts) for _, members in cells)
        return np.concatenate(list(rows))

    def counter(self, values: Values) -> _Pool:
        """Function from a mask of descriptors to their counts of words."""
        n_words = len(self.codebook)
        reduced = self._reduce(values)
        if self.scale is None:
            labels = self._nearest(reduced)
            return lambda members: _count(labels[members], n_words)
        labels, weights = encodings.soften(self._distances(reduced), self.scale)
        return lambda members: _count(labels[members], n_words, weights[members])

    def differencer(self, values: Values) -> _Pool:
        """Function from a mask of descriptors to their VLAD."""
        reduced = self._reduce(values)
        labels = self._nearest(reduced)
        unpacked, words = _unpacked(reduced), _unpacked(self.codebook)
        return lambda members: encodings.vlad(unpacked[members], labels[members], words)

    def deriver(self, values: Values) -> _Pool:
        """Function from a mask of descriptors to their Fisher vector."""
        reduced = self._reduce(_unpacked(values))
        mixture = Mixture(self.weights, self.codebook, self.variances)
        scaled = posteriors(reduced, mixture)[0] / np.sqrt(mixture.weights)
        encode = partial(encodings.fisher, means=mixture.means, variances=mixture.variances)
        return lambda members: encode(reduced[members], scaled[members])

    def words_of(self, values: Values) -> npt.NDArray[np.intp]:
        """Indices of the words that occur in an image, ascending, each once."""
        return np.unique(self._nearest(self._reduce(values)))

    def _reduce(self, values: Values) -> Values:
        if self.components is None:
            return values
        return reduce(values, self.mean, self.components).astype(self.codebook.dtype)

    def _distances(self, values: Values) -> Values:
        if self.is_binary:
            return hamming(values, self.codebook)
        return codebooks.squared_distances(values, self.codebook)

    def _nearest(self, values: Values) -> npt.NDArray[np.intp]:
        return self._distances(values).argmin(axis=1)


def learn_vocabulary(
    values: Values, n_words: int, n_components: int | None = None, *, is_soft: bool, seed: Any
) -> Vocabulary:
    """Vocabulary learned by k-means, or by k-majority for packed bits.

    Parameters
    ----------
    values : ndarray of shape (n, d), float32 or uint8
        Sample of descriptors, at least `n_words` of them; packed bits if uint8.
    n_words : int
    n_components : int, optional
        Number of principal components of descriptors; not for packed bits.
    is_soft : bool
        Whether to measure the mean squared distance to the words, for soft assignment.
    seed : SeedSequence

    Returns
    -------
    Vocabulary
    """
    mean = components = None
    if n_components is not None:
        mean, components = codebooks.learn_projection(values, n_components)
        values = reduce(values, mean, components).astype(np.float32)
    if values.dtype == np.uint8:
        words: Values = codebooks.learn_binary_words(values, n_words, seed)
    else:
        words = codebooks.learn_words(values, n_words, seed)
    vocabulary = Vocabulary(words, mean=mean, components=components)
    if not is_soft:
        return vocabulary
    nearest = map_blocks(lambda block: vocabulary._distances(block).min(axis=1), values)
    return replace(vocabulary, scale=float(np.concatenate(list(nearest)).mean(dtype=np.float64)))


def learn_fisher_vocabulary(
    values: Values, n_words: int, n_components: int, seed: Any
) -> Vocabulary:
    """Vocabulary of a mixture of Gaussians, learned on reduced descriptors.

    Parameters
    ----------
    values : ndarray of shape (n, d), float32 or uint8
        Sample of descriptors, at least `n_words` of them; packed bits if uint8.
    n_words : int
    n_components : int
        Number of principal components of descriptors; at most their width.
    seed : SeedSequence

    Returns
    -------
    Vocabulary
    """
    unpacked = _unpacked(values)
    mean, components = codebooks.learn_projection(unpacked, n_components)
    mixture = learn_mixture(reduce(unpacked, mean, components), n_words, seed)
    return Vocabulary(mixture.means, mixture.weights, mixture.variances, mean, components)


def reduce(values: Values, mean: Doubles, components: Doubles) -> Doubles:
    """Descriptors projected onto their principal components: (k, n_components)."""
    return product(values.astype(np.float64) - mean, components)


def _unpacked(values: Values) -> Values:
    """Values as float64, packed bits as 0 and 1."""
    if values.dtype == np.uint8:
        values = np.unpackbits(values, axis=1)
    return values.astype(np.float64)


def _count(labels: npt.NDArray[np.intp], n_words: int, weights: Doubles | None = None) -> Doubles:
    flat = None if weights is None else weights.ravel()
    return np.bincount(labels.ravel(), flat, minlength=n_words).astype(np.float64)
