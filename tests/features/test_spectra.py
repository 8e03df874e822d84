"""Spectra, compared with hand-computed values and NumPy."""

import math

import numpy as np
import pytest
import torch

from in4310repro.features.spectra import spectrum


def test_eigenvalues_are_those_on_the_diagonal_in_decreasing_order() -> None:
    result = spectrum(torch.diag(torch.tensor([1.0, 4.0, 0.0, 2.0], dtype=torch.float64)))
    assert result.eigenvalues.tolist() == [4.0, 2.0, 1.0, 0.0]
    assert result.clamped == 0.0


def test_eigenvalues_agree_with_numpys_singular_values_of_the_rows() -> None:
    rows = torch.randn(30, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = rows - rows.mean(dim=0)
    expected = np.linalg.svd(rows.numpy(), compute_uv=False) ** 2 / 30
    result = spectrum(rows.T @ rows / 30).eigenvalues
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_a_negative_eigenvalue_is_clamped_and_reported() -> None:
    result = spectrum(torch.tensor([[1.0, 0.0], [0.0, -1e-9]], dtype=torch.float64))
    assert result.eigenvalues.tolist() == [1.0, 0.0]
    assert result.clamped == pytest.approx(1e-9, rel=1e-12)


def test_trace_share_and_effective_rank_by_hand() -> None:
    result = spectrum(torch.diag(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)))
    assert (result.trace_share(1), result.trace_share(3)) == (0.75, 1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert result.effective_rank() == pytest.approx(math.exp(entropy), rel=1e-12)


def test_effective_rank_of_equal_eigenvalues_is_their_number() -> None:
    assert spectrum(torch.eye(5, dtype=torch.float64)).effective_rank() == pytest.approx(5, rel=1e-12)


@pytest.mark.parametrize("k", [0, 4, -1])
def test_a_number_of_eigenvalues_that_does_not_exist_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"{k} eigenvalues asked for; there are 1 to 3"):
        spectrum(torch.eye(3, dtype=torch.float64)).largest(k)


def test_shares_of_no_variance_are_refused() -> None:
    with pytest.raises(ValueError, match="total variance is 0"):
        spectrum(torch.zeros(3, 3, dtype=torch.float64)).trace_share(1)


def test_a_covariance_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="2 entries of the covariance are not finite"):
        spectrum(torch.tensor([[1.0, math.nan], [math.nan, 1.0]], dtype=torch.float64))


def test_shares_of_a_variance_below_1_are_those_of_a_larger_one() -> None:
    small, large = (spectrum(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)) * by) for by in (1e-6, 1.0))
    assert small.trace_share(1) == pytest.approx(large.trace_share(1), rel=1e-12)
    assert small.effective_rank() == pytest.approx(large.effective_rank(), rel=1e-12)


def test_eigenvalues_have_the_same_bits_on_any_number_of_threads() -> None:
    """From 128 channels on, LAPACK's last bits depend on the number of threads that it uses."""
    rows = torch.randn(900, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance, before = rows.T @ rows / 900, torch.get_num_threads()
    spectra = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            spectra.append(spectrum(covariance).eigenvalues)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(spectra[0], spectra[1])
    assert torch.equal(spectra[0], spectra[2])
