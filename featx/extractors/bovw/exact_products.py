"""Compiled matrix products, Hamming distances and sums with a fixed order of addition.

BLAS may round a product differently with another number of threads or rows or on another
processor, and a descriptor may then be assigned to another word. These loops add in the order
of the columns, without fused operations, so that their bytes depend only on the input. They
release the GIL; the compiled code is cached on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx._imports import compiled

Array = npt.NDArray[Any]


def product(A: Array, B: Array) -> Array:
    """Matrix product whose bytes do not depend on threads, processor or number of rows.

    Parameters
    ----------
    A : ndarray of shape (n, d), float32 or float64
    B : ndarray of shape (d, m), of the type of `A`

    Returns
    -------
    ndarray of shape (n, m), of the type of `A`

    Examples
    --------
    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    out = np.empty((A.shape[0], B.shape[1]), A.dtype)
    if len(A):
        _product(np.ascontiguousarray(A), np.ascontiguousarray(B), out)
    return out


def hamming(A: npt.NDArray[np.uint8], B: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Number of bits in which each row of `A` differs from each row of `B`.

    Parameters
    ----------
    A : ndarray of shape (n, n_bytes), uint8
        Packed bits; the number of bytes is a multiple of 8.
    B : ndarray of shape (m, n_bytes), uint8

    Returns
    -------
    ndarray of shape (n, m), int32

    Examples
    --------
    >>> bits = np.zeros((2, 8), np.uint8)
    >>> bits[1, 0] = 7
    >>> hamming(bits, bits)
    array([[0, 3], [3, 0]], dtype=int32)
    """
    out = np.empty((A.shape[0], B.shape[0]), np.int32)
    _hamming(_as_words(A), _as_words(B), out)
    return out


def sum_by_label(X: Array, labels: npt.NDArray[np.intp], n_labels: int) -> npt.NDArray[np.float64]:
    """Sums of the rows that have the same label.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    labels : ndarray of shape (n,), 0 to ``n_labels - 1``
    n_labels : int

    Returns
    -------
    ndarray of shape (n_labels, d), float64

    Examples
    --------
    >>> sum_by_label(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2)
    array([[2.], [5.]])
    """
    out = np.zeros((n_labels, X.shape[1]))
    _add_by_label(np.ascontiguousarray(X), np.asarray(labels, np.intp), out)
    return out


def _as_words(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(bits).view(np.uint64)


@compiled()
def _product(A: Array, B: Array, out: Array) -> None:
    """Four rows and two terms at a time: each value of `B` read serves eight products."""
    n, d = A.shape
    m = B.shape[1]
    even = d - d % 2
    sums = np.empty((4, m), out.dtype)
    s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
    for i in range(0, n, 4):
        i1, i2, i3 = min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)
        sums[:] = 0
        for k in range(0, even, 2):
            p0, p1, p2, p3 = A[i, k], A[i1, k], A[i2, k], A[i3, k]
            q0, q1, q2, q3 = A[i, k + 1], A[i1, k + 1], A[i2, k + 1], A[i3, k + 1]
            for j in range(m):
                b, c = B[k, j], B[k + 1, j]
                s0[j] = (s0[j] + p0 * b) + q0 * c
                s1[j] = (s1[j] + p1 * b) + q1 * c
                s2[j] = (s2[j] + p2 * b) + q2 * c
                s3[j] = (s3[j] + p3 * b) + q3 * c
        if even < d:
            for j in range(m):
                s0[j] += A[i, even] * B[even, j]
                s1[j] += A[i1, even] * B[even, j]
                s2[j] += A[i2, even] * B[even, j]
                s3[j] += A[i3, even] * B[even, j]
        out[i], out[i1], out[i2], out[i3] = s0, s1, s2, s3


@compiled()
def _hamming(A: Array, B: Array, out: Array) -> None:
    for i in range(A.shape[0]):
        for j in range(B.shape[0]):
            n_bits = np.uint64(0)
            for k in range(A.shape[1]):
                n_bits += _count_bits(A[i, k] ^ B[j, k])
            out[i, j] = n_bits


@compiled()
def _count_bits(x: Any) -> Any:
    """Number of bits set in 64: sums of pairs of bits, then of 4 bits, bytes, and all bytes."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    fours = np.uint64(0x3333333333333333)
    x = (x & fours) + ((x >> np.uint64(2)) & fours)
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled()
def _add_by_label(X: Array, labels: Array, out: Array) -> None:
    for i in range(X.shape[0]):
        row = out[labels[i]]
        for j in range(X.shape[1]):
            row[j] += X[i, j]
