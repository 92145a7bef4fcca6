import pytest
import torch

from skaudio.layers import slot_pooling
from skaudio.layers.slot_pooling import pool_slots
from skaudio.layers.warping import assign_slots, overlap_matrix


@pytest.fixture(params=[2**6, 2**30], ids=["many groups", "one group"])
def _cells_at_once(request, monkeypatch):
    """Cut clips into many groups, or put all of them into one."""
    monkeypatch.setattr(slot_pooling, "CACHEABLE_CELLS", request.param)


def batch(n_frames=50, n_features=5, n_clips=3, dtype=torch.float64, seed=0):
    """Scores that fill about a quarter as many slots as there are frames, features and a table."""
    rng = torch.Generator().manual_seed(seed)
    options = {"generator": rng, "dtype": torch.float64}
    score = torch.rand(n_clips, n_frames, **options).pow(3)
    x = torch.randn(n_clips, n_frames, n_features, **options).to(dtype)
    return score, x, torch.randn(n_frames, n_features, **options).to(dtype)


def slots_of(score, n_slots):
    budget = torch.tensor([n_slots] * len(score))
    return assign_slots(score, budget, n_slots)


def dense(x, table, slots, gain):
    """The three maps by their formulas, with the matrix of all weights."""
    weight = overlap_matrix(slots).to(x.dtype)
    loudest = (weight[..., None] * x.exp()[:, :, None]).amax(1)
    average, encoding = weight.mT @ x.exp(), weight.mT @ table
    return torch.stack([(average + 1e-12).log(), (gain * loudest + 1e-12).log(), encoding], dim=1)


@pytest.mark.usefixtures("_cells_at_once")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n_frames", "n_slots"), [(1, 1), (2, 1), (7, 3), (61, 13), (300, 75)])
def test_maps_are_the_dense_ones(n_frames, n_slots, dtype):
    score, x, table = batch(n_frames, dtype=dtype)
    slots = slots_of(score, n_slots)
    maps, total = pool_slots(x, table, slots, gain=4.0)
    torch.testing.assert_close(maps, dense(x, table, slots, 4.0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(total, x.exp().sum(2))


@pytest.mark.usefixtures("_cells_at_once")
def test_gradients_are_the_dense_ones():
    score, x, table = (value.requires_grad_() for value in batch())
    weight = torch.randn(3, 3, 12, 5, dtype=torch.float64)
    results = []
    for pool in (lambda *given: pool_slots(*given)[0], dense):
        maps = pool(x, table, slots_of(score, 12), 2.0)
        results.append(torch.autograd.grad((maps * weight).sum(), [score, x, table]))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_numerical_gradients():
    # A little less than fills the slots: at a boundary the derivative jumps.
    score, x, table = (value.requires_grad_() for value in batch(12, 3, 2))
    score = (0.97 * score * 4 / score.sum(1, keepdim=True)).clamp(max=0.97).detach()

    def maps(score, x, table):
        return pool_slots(x, table, slots_of(score, 4), 2.0)[0]

    assert torch.autograd.gradcheck(maps, (score.requires_grad_(), x, table))


def test_of_a_maximum_equals_share_the_gradient():
    score = torch.full((1, 4), 0.5, dtype=torch.float64)
    x = torch.zeros(1, 4, 1, dtype=torch.float64, requires_grad=True)
    maps, _ = pool_slots(x, x.new_zeros(4, 1), slots_of(score, 2))
    maps[:, 1].sum().backward()
    torch.testing.assert_close(x.grad.flatten(), torch.full((4,), 0.5, dtype=torch.float64))


def test_no_power_at_all_is_fine():
    score, x, table = batch()
    x = torch.full_like(x, float("-inf")).requires_grad_()
    maps, total = pool_slots(x, table, slots_of(score.requires_grad_(), 12))
    assert (maps[:, :2].exp() - 1e-12).abs().max() < 1e-20
    assert not total.any()
    grads = torch.autograd.grad(maps.sum(), [score, x])
    assert all(grad.isfinite().all() for grad in grads)


def test_no_clip_touches_another():
    score, x, table = batch()
    together, _ = pool_slots(x, table, slots_of(score, 12))
    for clip in range(len(x)):
        one = slice(clip, clip + 1)
        alone, _ = pool_slots(x[one], table, slots_of(score[one], 12))
        assert torch.equal(together[one], alone)


def test_same_bits_every_time():
    def run():
        score, x, table = (value.requires_grad_() for value in batch(500, 16, dtype=torch.float32))
        maps, _ = pool_slots(x, table, slots_of(score, 120))
        return [maps, *torch.autograd.grad(maps.square().sum(), [score, x, table])]

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)
