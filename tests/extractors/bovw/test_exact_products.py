import numpy as np
import pytest

from featx.extractors.bovw.exact_products import hamming, product, sum_by_label


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (8, 128, 50), (4, 64, 1), (3, 0, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_equals_numpys(shape: tuple[int, int, int], dtype: type) -> None:
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=shape[:2]).astype(dtype), rng.normal(size=shape[1:]).astype(dtype)
    assert product(A, B).dtype == dtype
    np.testing.assert_allclose(product(A, B), A @ B, atol=1e-5 if dtype == np.float32 else 1e-12)


def test_product_gives_a_row_the_same_bytes_whatever_rows_are_beside_it() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(13, 9)), rng.normal(size=(9, 11))
    alone = np.concatenate([product(A[i : i + 1], B) for i in range(13)])
    assert product(A, B).tobytes() == alone.tobytes()


def test_hamming_counts_the_bits_that_differ() -> None:
    rng = np.random.default_rng(0)
    A, B = (rng.integers(0, 256, (n, 32), dtype=np.uint8) for n in (5, 4))
    by_hand = np.unpackbits(A[:, None] ^ B, axis=2).sum(axis=2)
    np.testing.assert_array_equal(hamming(A, B), by_hand)


def test_hamming_of_nothing_is_empty() -> None:
    assert hamming(np.empty((0, 32), np.uint8), np.zeros((3, 32), np.uint8)).shape == (0, 3)


def test_sum_by_label_leaves_zeros_where_a_label_is_missing() -> None:
    sums = sum_by_label(np.arange(6.0).reshape(3, 2), np.array([2, 0, 2]), 3)
    np.testing.assert_array_equal(sums, [[2, 3], [0, 0], [4, 6]])
