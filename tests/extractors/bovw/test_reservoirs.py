import numpy as np

from featx.extractors.bovw.reservoirs import BagSample, RowSample


def _row_sample(stream: np.ndarray, lengths: list[int], n_rows: int) -> np.ndarray:
    sample = RowSample(n_rows, seed=3)
    for part in np.split(stream, np.cumsum(lengths)[:-1]):
        sample.add(part)
    return sample.rows()


def test_row_sample_does_not_depend_on_how_the_stream_is_cut() -> None:
    stream = np.arange(9000)[:, None]
    whole = _row_sample(stream, [9000], 50)
    np.testing.assert_array_equal(_row_sample(stream, [1, 4999, 0, 4000], 50), whole)


def test_row_sample_draws_without_replacement_from_the_whole_stream() -> None:
    rows = _row_sample(np.arange(9000)[:, None], [10] * 900, 500)[:, 0]
    assert len(set(rows.tolist())) == 500
    assert 4000 < rows.mean() < 5000


def test_row_sample_keeps_all_of_a_short_stream() -> None:
    rows = _row_sample(np.arange(7)[:, None], [3, 4], 500)[:, 0]
    assert sorted(rows.tolist()) == list(range(7))


def test_row_sample_holds_a_bounded_number_of_rows() -> None:
    sample = RowSample(10, seed=0)
    held = []
    for _ in range(300):
        sample.add(np.zeros((100, 2)))
        held.append(sum(map(len, sample._rows)))
    assert max(held) <= 2 * 10 + 1024 + 100
    assert len(sample._rows) < 200


def test_row_sample_forgets_the_arrays_it_was_given() -> None:
    array = np.zeros((4, 2))
    sample = RowSample(10, seed=0)
    sample.add(array)
    array[:] = 1
    assert sample.rows().max() == 0


def test_bag_sample_keeps_whole_arrays_up_to_its_number_of_rows() -> None:
    sample = BagSample(95, seed=0)
    for i in range(50):
        sample.add(np.full((10, 1), i))
    bags = sample.bags()
    assert [len(bag) for bag in bags] == [10] * 9
    assert len({bag[0, 0] for bag in bags}) == 9


def test_bag_sample_is_bounded_on_a_stream_of_empty_arrays() -> None:
    sample = BagSample(10, seed=0)
    for _ in range(1000):
        sample.add(np.empty((0, 1)))
    assert len(sample.bags()) == 10


def test_bag_sample_keeps_one_array_that_is_larger_than_its_number_of_rows() -> None:
    sample = BagSample(5, seed=0)
    for _ in range(4):
        sample.add(np.zeros((50, 1)))
    assert len(sample.bags()) == 1
