import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from featx.extractors.bovw.mixtures import Mixture, learn_mixture, posteriors


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    rng = np.random.default_rng(1)
    centers, widths = rng.normal(size=(5, 4)) * 2, rng.uniform(0.3, 1, size=(5, 4))
    labels = rng.integers(0, 5, 4000)
    return centers[labels] + widths[labels] * rng.normal(size=(4000, 4))


def _as_sklearn(mixture: Mixture) -> GaussianMixture:
    model = GaussianMixture(len(mixture.weights), covariance_type="diag")
    model.weights_, model.means_, model.covariances_ = mixture
    model.precisions_cholesky_ = 1 / np.sqrt(mixture.variances)
    return model


def test_posteriors_are_scikit_learns(sample: np.ndarray) -> None:
    mixture = learn_mixture(sample, 5, seed=0)
    shares, likelihoods = posteriors(sample, mixture)
    np.testing.assert_allclose(shares, _as_sklearn(mixture).predict_proba(sample), atol=1e-9)
    np.testing.assert_allclose(likelihoods, _as_sklearn(mixture).score_samples(sample), atol=1e-9)


def test_the_sample_is_as_likely_as_under_scikit_learns_mixture(sample: np.ndarray) -> None:
    ours = _as_sklearn(learn_mixture(sample, 5, seed=0)).score(sample)
    theirs = GaussianMixture(5, covariance_type="diag", random_state=0).fit(sample).score(sample)
    assert ours > theirs - 0.01


def test_a_dimension_without_variance_is_no_failure(sample: np.ndarray) -> None:
    flat = np.concatenate([sample, np.zeros((len(sample), 1))], axis=1)
    mixture = learn_mixture(flat, 5, seed=0)
    assert all(np.isfinite(part).all() for part in (*mixture, *posteriors(flat, mixture)))


def test_mixtures_do_not_depend_on_threads(
    sample: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = learn_mixture(sample, 5, seed=0)
    monkeypatch.setattr("joblib.cpu_count", lambda: 7)
    again = learn_mixture(sample, 5, seed=0)
    assert [part.tobytes() for part in again] == [part.tobytes() for part in mixture]
