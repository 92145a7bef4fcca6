import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skaudio.layers.resolution import slot_pooling
from skaudio.layers.resolution.slot_pooling import pool_slots
from skaudio.layers.resolution.warping import assign_slots, overlap_matrix

SCORES = [0.0, 1e-9, 0.1, 0.25, 1 / 3, 0.5, 0.999999, 1.0]


@pytest.fixture(params=[60, 500, 2**30], ids=["parts of clips", "two clips", "all clips"])
def _cells_at_once(request, monkeypatch):
    """Cut clips of 50 frames and 5 features into groups, take two together, or all."""
    monkeypatch.setattr(slot_pooling, "CACHEABLE_CELLS", request.param)


def batch(n_frames=50, n_features=5, n_clips=3, dtype=torch.float64, seed=0):
    """Scores that fill about a quarter as many slots as there are frames, features and a table."""
    options = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    score = torch.rand(n_clips, n_frames, **options).pow(3)
    x = torch.randn(n_clips, n_frames, n_features, **options).to(dtype)
    return score, x, torch.randn(n_frames, n_features, **options).to(dtype)


def slots_of(score, *n_slots):
    budget = torch.tensor(n_slots).expand(len(score))
    return assign_slots(score, budget, max(n_slots))


def dense(x, table, slots, gain):
    """The three maps by their formulas, with the matrix of all weights."""
    weight = overlap_matrix(slots).to(x.dtype)
    loudest = (weight[..., None] * x.exp()[:, :, None]).amax(1)
    average, encoding = weight.mT @ x.exp(), weight.mT @ table
    return torch.stack([(average + 1e-12).log(), (gain * loudest + 1e-12).log(), encoding], dim=1)


def gradients(maps, *wrt):
    """Gradients of an arbitrary mixture, sent back in another memory layout than the maps'."""
    weight = torch.linspace(-1, 1, maps.numel(), dtype=maps.dtype).view(*maps.mT.shape).mT
    return torch.autograd.grad(maps, wrt, weight)


@pytest.mark.usefixtures("_cells_at_once")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n_frames", "n_slots"), [(1, 1), (2, 1), (7, 3), (12, 3), (300, 75)])
def test_maps_are_the_dense_ones(n_frames, n_slots, dtype):
    score, x, table = batch(n_frames, dtype=dtype)
    slots = slots_of(score, n_slots)
    maps, total = pool_slots(x, table, slots, gain=4.0)
    torch.testing.assert_close(maps, dense(x, table, slots, 4.0))
    torch.testing.assert_close(total, x.exp().sum(2))
    torch.testing.assert_close(pool_slots(x, None, slots, gain=4.0)[0], maps[:, :2])


@pytest.mark.usefixtures("_cells_at_once")
@pytest.mark.parametrize("level", [0.0, -27.0], ids=["audible", "at the floor"])
def test_gradients_are_the_dense_ones(level):
    score, x, table = (value.requires_grad_() for value in batch())
    maps, _ = pool_slots(x + level, table, slots_of(score, 10), 2.0)
    ours = gradients(maps, score, x, table)
    expected = gradients(dense(x + level, table, slots_of(score, 10), 2.0), score, x, table)
    for got, want in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, want)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_scores_budgets_and_groups(data):
    n_frames, n_clips = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 4))
    row = st.lists(st.sampled_from(SCORES), min_size=n_frames, max_size=n_frames)
    score = torch.tensor(data.draw(st.lists(row, min_size=n_clips, max_size=n_clips)))
    score = score.double().requires_grad_()
    n_slots = data.draw(st.lists(st.integers(1, 12), min_size=n_clips, max_size=n_clips))
    _, x, table = (value.requires_grad_() for value in batch(n_frames, 2, n_clips))
    slots = slots_of(score, *n_slots)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot_pooling, "CACHEABLE_CELLS", data.draw(st.integers(1, 200)))
        maps, _ = pool_slots(x, table, slots, gain=1.5)
        ours = gradients(maps, x, table)
    expected = dense(x, table, slots, 1.5)
    torch.testing.assert_close(maps, expected, rtol=1e-6, atol=1e-6)
    for got, want in zip(ours, gradients(expected, x, table), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("_cells_at_once")
def test_numerical_gradients():
    # A little less than fills the slots: at a boundary the derivative jumps.
    score, x, table = batch(12, 3, 2)
    score = (0.97 * score * 4 / score.sum(1, keepdim=True)).clamp(max=0.97)

    def maps(score, x, table):
        return pool_slots(x, table, slots_of(score, 4), 2.0)[0]

    given = (score, x, table)
    assert torch.autograd.gradcheck(maps, [value.requires_grad_() for value in given])


def test_a_second_derivative_is_refused():
    score, x, table = batch()
    maps, _ = pool_slots(x.requires_grad_(), table, slots_of(score, 12))
    with pytest.raises(NotImplementedError, match=r"DiffRes.*differentiated once only"):
        torch.autograd.grad(maps.sum(), x, create_graph=True)


def test_of_a_maximum_equals_share_the_gradient():
    score = torch.full((1, 4), 0.5, dtype=torch.float64)
    x = torch.zeros(1, 4, 1, dtype=torch.float64, requires_grad=True)
    maps, _ = pool_slots(x, None, slots_of(score, 2))
    maps[:, 1].sum().backward()
    torch.testing.assert_close(x.grad.flatten(), torch.full((4,), 0.5, dtype=torch.float64))


def test_no_power_at_all_is_fine():
    score, x, table = batch()
    x = torch.full_like(x, float("-inf")).requires_grad_()
    maps, total = pool_slots(x, table, slots_of(score.requires_grad_(), 12))
    torch.testing.assert_close(maps[:, :2], torch.full_like(maps[:, :2], 1e-12).log())
    assert not total.any()
    assert all(grad.isfinite().all() for grad in gradients(maps, score, x))


@pytest.mark.usefixtures("_cells_at_once")
def test_no_clip_touches_another():
    score, x, table = batch()
    together, _ = pool_slots(x, table, slots_of(score, 12))
    for clip in range(len(x)):
        one = slice(clip, clip + 1)
        alone, _ = pool_slots(x[one], table, slots_of(score[one], 12))
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("_cells_at_once")
def test_same_bits_every_time():
    def run():
        score, x, table = (value.requires_grad_() for value in batch(500, 16, dtype=torch.float32))
        maps, _ = pool_slots(x, table, slots_of(score, 120))
        return [maps, *gradients(maps, score, x, table)]

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)
