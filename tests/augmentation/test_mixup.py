import numpy as np
import pytest
import torch
from scipy import stats

from skaudio.augmentation import draw_mixup, mix


def draw(n_clips=8, alpha=0.4, seed=0):
    return draw_mixup(n_clips, alpha, torch.Generator().manual_seed(seed))


def test_partners_are_a_permutation():
    partner, share = draw(50)
    assert partner.sort().values.tolist() == list(range(50))
    assert partner.dtype == torch.int64
    assert share.shape == (50,)
    assert share.dtype == torch.float32


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_follow_beta(alpha):
    _, share = draw(3000, alpha)
    assert stats.kstest(share.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [1e-4, 1e4])
def test_extreme_alpha(alpha):
    _, share = draw(100, alpha)
    assert ((share >= 0) & (share <= 1)).all()
    distance = (share - 0.5).abs()
    assert (distance > 0.49).all() if alpha < 1 else (distance < 0.05).all()


def test_reproducible_without_the_global_generators():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, same, other = draw(seed=3), draw(seed=3), draw(seed=4)
    assert all(map(torch.equal, first, same))
    assert not torch.equal(first[1], other[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_two_draws_from_one_generator_differ():
    generator = torch.Generator().manual_seed(0)
    assert not torch.equal(draw_mixup(8, 1, generator)[1], draw_mixup(8, 1, generator)[1])


@pytest.mark.parametrize("shape", [(4, 10), (4, 1, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mix(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = x.clone()
    partner = torch.tensor([1, 0, 3, 2])
    share = torch.tensor([1.0, 0.0, 0.5, 0.25])
    mixed = mix(x, partner, share)
    assert mixed.dtype == dtype
    assert torch.equal(x, before)
    expected = torch.stack([x[0], x[0], 0.5 * x[2] + 0.5 * x[3], 0.25 * x[3] + 0.75 * x[2]])
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("alpha", [0, -1, float("nan")])
def test_alpha_must_be_positive(alpha):
    with pytest.raises(ValueError, match=r"mixup: alpha is .*, but expected a number > 0"):
        draw(alpha=alpha)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_mix_on_a_gpu():
    x = torch.randn(8, 20)
    torch.testing.assert_close(mix(x.cuda(), *draw()).cpu(), mix(x, *draw()))
