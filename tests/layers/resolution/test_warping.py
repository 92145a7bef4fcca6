import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skaudio.layers.resolution.scoring import normalise_scores
from skaudio.layers.resolution.warping import assign_slots, overlap_matrix, slot_sums


def overlaps(score, n_slots):
    """The definition: overlap of (c_{t-1}, c_t] and (j, j + 1], written out."""
    end = np.cumsum(score, dtype=np.float64)
    start = np.concatenate([[0.0], end[:-1]])
    slot = np.arange(n_slots)
    shared = np.minimum(end[:, None], slot + 1) - np.maximum(start[:, None], slot)
    return np.maximum(shared, 0)


def scores(n_frames, n_slots, batch=1, seed=0, spread=3.0):
    logits = torch.randn(
        batch, n_frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return normalise_scores(
        torch.sigmoid(logits * spread),
        torch.full((batch,), n_slots),
        torch.ones(batch, n_frames, dtype=torch.bool),
    )


def slots_of(score, n_slots):
    return assign_slots(score, torch.full((len(score),), n_slots), n_slots)


def dense_weights(score, n_slots):
    """The definition again, differentiable."""
    end = score.cumsum(1)[..., None]
    start = end - score[..., None]
    slot = torch.arange(n_slots)
    return (torch.minimum(end, slot + 1.0) - torch.maximum(start, slot * 1.0)).clamp(min=0)


SIZES = [(1, 1), (2, 1), (7, 3), (40, 39), (61, 13), (100, 1), (300, 75)]


@pytest.mark.parametrize(("n_frames", "n_slots"), SIZES)
def test_weights_are_the_overlaps(n_frames, n_slots):
    score = scores(n_frames, n_slots, batch=3)
    weight = overlap_matrix(slots_of(score, n_slots))
    for clip in range(3):
        expected = overlaps(score[clip].numpy(), n_slots)
        np.testing.assert_allclose(weight[clip].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("n_frames", "n_slots"), SIZES)
def test_a_slot_is_filled_and_a_frame_spent(n_frames, n_slots):
    score = scores(n_frames, n_slots, spread=1.0)
    weight = overlap_matrix(slots_of(score, n_slots))
    assert (weight.count_nonzero(dim=2) <= 2).all()
    torch.testing.assert_close(weight.sum(2), score)
    filled = (score.sum(1, keepdim=True) - torch.arange(n_slots)).clamp(0, 1)
    torch.testing.assert_close(weight.sum(1), filled)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from([0.0, 1e-9, 0.1, 0.25, 1 / 3, 0.5, 0.999999, 1.0]), min_size=1, max_size=40
    ),
    st.integers(1, 20),
)
def test_any_scores_at_all(score, n_slots):
    # Zeros, ones, sums that hit a boundary, too much for the slots, too little.
    score = torch.tensor([score], dtype=torch.float64)
    slots = slots_of(score, n_slots)
    expected = overlaps(score[0].numpy(), n_slots)
    np.testing.assert_allclose(overlap_matrix(slots)[0].numpy(), expected, atol=1e-12)
    x = torch.rand(1, score.shape[1], 2, dtype=torch.float64)
    np.testing.assert_allclose(slot_sums(x, slots)[0].numpy(), expected.T @ x[0].numpy(), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n_frames", "n_slots"), SIZES)
def test_sums_are_the_dense_ones(n_frames, n_slots, dtype):
    score = scores(n_frames, n_slots, batch=2, seed=1)
    slots = slots_of(score, n_slots)
    x = torch.rand(2, n_frames, 5, dtype=dtype)
    table = torch.rand(n_frames, 3, dtype=dtype)
    dense = overlap_matrix(slots).to(dtype)
    torch.testing.assert_close(slot_sums(x, slots), dense.mT @ x)
    torch.testing.assert_close(slot_sums(table, slots), dense.mT @ table)


def test_gradients_of_sums_are_the_dense_ones():
    score = scores(50, 12, batch=2, seed=2).requires_grad_()
    x = torch.rand(2, 50, 4, dtype=torch.float64, requires_grad=True)
    y = slot_sums(x, slots_of(score, 12))
    weight = torch.linspace(-1, 1, y.numel()).view_as(y)
    ours = torch.autograd.grad((y * weight).sum(), [score, x])
    expected = torch.autograd.grad(((dense_weights(score, 12).mT @ x) * weight).sum(), [score, x])
    for got, want in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, want)


def test_numerical_gradients_of_sums():
    # A little less than fills the slots: at a boundary the derivative jumps.
    score = (0.97 * scores(12, 4, batch=2, seed=3)).requires_grad_()
    x = torch.rand(2, 12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, x: slot_sums(x, slots_of(s, 4)), (score, x))


def test_running_sum_is_exact_on_long_clips():
    score = scores(30_000, 7500, seed=4)
    assert (
        abs(
            float(
                slot_sums(torch.ones(30_000, 1, dtype=torch.float64), slots_of(score, 7500))[0, -1]
            )
            - 1
        )
        < 1e-9
    )


def test_no_clip_touches_another():
    score = scores(33, 9, batch=4, seed=5)
    x = torch.rand(4, 33, 6)
    together = slots_of(score, 9)
    for clip in range(4):
        alone = slots_of(score[clip : clip + 1], 9)
        one = slot_sums(x[clip : clip + 1], alone)[0]
        torch.testing.assert_close(slot_sums(x, together)[clip], one, rtol=0, atol=0)


def test_same_bits_every_time():
    def run():
        score = scores(500, 120, batch=3, seed=6).requires_grad_()
        x = torch.rand(3, 500, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
        slots = slots_of(score, 120)
        y = slot_sums(x, slots)
        return [y, *torch.autograd.grad(y.square().sum(), [score, x])]

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)
