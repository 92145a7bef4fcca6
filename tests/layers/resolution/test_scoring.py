import numpy as np
import pytest
import torch
from torch import nn

from skaudio.layers.resolution.scoring import (
    FrameConvStack,
    guide_terms,
    normalise_scores,
    scorer_widths,
)


def normalise(raw, n_slots):
    """Step by step, for one clip, in numpy."""
    if n_slots == len(raw):
        return np.ones(len(raw))
    score = raw * n_slots / raw.sum()
    if score.max() >= 1:
        score = score / score.max()
        missing = n_slots - score.sum()
        if missing >= 1:
            between = (score > 1e-4) & (score < 1 - 1e-4)
            alpha = min(1.0, missing / (1 - score[between]).sum()) if between.any() else 0.0
            score[between] += (1 - score[between]) * alpha
    return score


def raw_scores(kind, n_frames, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "flat":
        return rng.uniform(0.4, 0.6, n_frames)
    if kind == "peaky":
        return rng.uniform(0, 1, n_frames) ** 8
    return np.where(rng.uniform(size=n_frames) < 0.1, 0.9, 1e-7)


@pytest.mark.parametrize("kind", ["flat", "peaky", "spikes"])
@pytest.mark.parametrize(("n_frames", "n_slots"), [(1, 1), (9, 4), (60, 30), (60, 59), (200, 20)])
def test_scores_follow_the_definition(kind, n_frames, n_slots):
    raw = raw_scores(kind, n_frames)
    got = normalise_scores(
        torch.from_numpy(raw)[None],
        torch.tensor([n_slots]),
        torch.ones(1, n_frames, dtype=torch.bool),
    )
    np.testing.assert_allclose(got[0].numpy(), normalise(raw, n_slots), rtol=1e-12)
    assert got.max() <= 1
    assert got.min() >= 0
    assert got.sum() <= n_slots + 1e-9


def test_a_clip_does_not_depend_on_its_neighbours():
    # Only the peaky clip needs the second step; the flat one must not take it with it.
    n_frames, n_slots = 60, 30
    raw = np.stack([raw_scores(kind, n_frames) for kind in ("flat", "peaky", "spikes")])
    got = normalise_scores(
        torch.from_numpy(raw), torch.full((3,), n_slots), torch.ones(3, n_frames, dtype=torch.bool)
    )
    for clip in range(3):
        np.testing.assert_allclose(got[clip].numpy(), normalise(raw[clip], n_slots), rtol=1e-12)


def test_padding_gets_nothing():
    raw = torch.rand(2, 20, dtype=torch.float64)
    real = torch.arange(20) < torch.tensor([20, 11])[:, None]
    got = normalise_scores(raw, torch.tensor([10, 5]), real)
    np.testing.assert_allclose(got[1, :11].numpy(), normalise(raw[1, :11].numpy(), 5), rtol=1e-12)
    assert not got[1, 11:].any()


def test_keeping_all_frames_means_scores_of_one():
    real = torch.arange(6) < torch.tensor([6, 4])[:, None]
    got = normalise_scores(torch.rand(2, 6), torch.tensor([6, 4]), real)
    assert torch.equal(got, real.float())


def test_scores_that_underflow_to_zero_stay_finite():
    got = normalise_scores(torch.zeros(1, 8), torch.tensor([4]), torch.ones(1, 8, dtype=torch.bool))
    assert got.isfinite().all()


@pytest.mark.parametrize("kind", ["flat", "peaky", "spikes"])
def test_gradient_is_finite(kind):
    raw = torch.from_numpy(raw_scores(kind, 60))[None].requires_grad_()
    score = normalise_scores(raw, torch.tensor([30]), torch.ones(1, 60, dtype=torch.bool))
    score.square().sum().backward()
    assert raw.grad.isfinite().all()


def test_gradient_is_right():
    raw = torch.from_numpy(np.stack([raw_scores("flat", 12), raw_scores("peaky", 12)]))
    real = torch.ones(2, 12, dtype=torch.bool)
    assert torch.autograd.gradcheck(
        lambda raw: normalise_scores(raw, torch.tensor([6, 6]), real), raw.requires_grad_()
    )


@pytest.mark.parametrize(
    ("n_bands", "widths"),
    [(128, [128, 64, 32, 16, 8, 1]), (1, [1] * 6), (23, [23, 11, 5, 2, 1, 1])],
)
def test_widths_halve(n_bands, widths):
    assert scorer_widths(n_bands) == widths


def plain_stack(stack, x):
    """One block after the other with torch's own layers, one clip at a time."""
    h = x.transpose(1, 2)
    for block in stack.blks:
        for conv, norm in ((block.cnn1, block.batch_norm1), (block.cnn2, block.batch_norm2)):
            before = h
            h = nn.functional.conv1d(h, conv.weight, conv.bias, padding=2).relu()
            h = nn.functional.batch_norm(
                h, norm.running_mean, norm.running_var, norm.weight, norm.bias
            )
            h = h + before if conv is block.cnn2 else h
    return h.transpose(1, 2)


def shaken(stack):
    for module in stack.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return stack.double().eval()


@pytest.mark.parametrize("n_bands", [1, 2, 17, 40])
@pytest.mark.parametrize("n_frames", [1, 3, 30])
def test_stack_is_plain_convolutions(n_bands, n_frames):
    stack = shaken(FrameConvStack(scorer_widths(n_bands)))
    x = torch.randn(3, n_frames, n_bands, dtype=torch.float64)
    torch.testing.assert_close(stack(x), plain_stack(stack, x))


def test_padding_is_the_zeros_beyond_a_clip():
    stack = shaken(FrameConvStack(scorer_widths(20)))
    x = torch.randn(3, 25, 20, dtype=torch.float64)
    lengths = [25, 1, 14]
    real = torch.arange(25) < torch.tensor(lengths)[:, None]
    together = stack(x * real[..., None], real)
    for clip, length in enumerate(lengths):
        torch.testing.assert_close(
            together[clip : clip + 1, :length], stack(x[clip : clip + 1, :length])
        )


def test_training_statistics_leave_padding_out():
    stack = FrameConvStack([3, 2]).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    real = torch.ones(2, 9, dtype=torch.bool)
    padded = nn.functional.pad(x, (0, 0, 0, 7))
    more = nn.functional.pad(real, (0, 7))
    torch.testing.assert_close(stack(padded, more)[:, :9], stack(x, real))
    torch.testing.assert_close(stack(x, real), stack(x))


def test_a_single_frame_trains():
    stack = FrameConvStack(scorer_widths(4))
    stack(torch.randn(1, 1, 4)).sum().backward()
    assert all(p.grad.isfinite().all() for p in stack.parameters())


def terms_of(score, energy, rate):
    """The definition, for one clip: guide loss without threshold, activeness, empty frames."""
    empty = energy <= energy.min() + 1e-6
    relative = score / (1 - rate)
    rest = relative[~empty]
    return relative[empty].mean(), rest.std(ddof=1) if len(rest) > 1 else 0.0, empty


def clips(n_frames=40, silent=5):
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 1, (3, n_frames))
    energy = rng.uniform(0.1, 1, (3, n_frames))
    energy[:, :silent] = 1e-9
    score[0, :silent] = 0.01  # little is spent on silence in the first clip, much in the second
    score[1, :silent] = 0.9
    return torch.from_numpy(score), torch.from_numpy(energy)


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.75])
def test_guide_terms_follow_their_definition(rate):
    score, energy = clips()
    got = guide_terms(score, energy, rate, torch.ones_like(score, dtype=torch.bool))
    pairs = zip(score.numpy(), energy.numpy(), strict=True)
    total, active, empty = zip(*(terms_of(*pair, rate) for pair in pairs), strict=True)
    assert got["guide_loss_total"].item() == pytest.approx(np.mean(total))
    counted = [spent if spent > 0.5 else 0 for spent in total]
    assert counted[0] == 0 < counted[1]
    assert got["guide_loss"].item() == pytest.approx(np.mean(counted))
    assert got["activeness"].item() == pytest.approx(np.mean(active))
    np.testing.assert_array_equal(got["score_mask"], np.stack(empty))


def test_padding_is_neither_empty_nor_counted():
    score, energy = clips()
    real = torch.ones_like(score, dtype=torch.bool)
    padded = [torch.nn.functional.pad(a, (0, 6)) for a in (score, energy)]
    got = guide_terms(*padded, 0.5, torch.nn.functional.pad(real, (0, 6)))
    expected = guide_terms(score, energy, 0.5, real)
    for name in ("guide_loss", "guide_loss_total", "activeness"):
        torch.testing.assert_close(got[name], expected[name])
    assert not got["score_mask"][:, 40:].any()


@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_equal_scores_and_lone_frames_have_finite_gradients(n_frames):
    score = torch.full((1, n_frames), 0.5, requires_grad=True)
    energy = torch.arange(1.0, n_frames + 1)[None]
    got = guide_terms(score, energy, 0.5, torch.ones(1, n_frames, dtype=torch.bool))
    assert got["activeness"] == 0
    (got["guide_loss"] + got["activeness"]).backward()
    assert score.grad.isfinite().all()


def test_gradient_lowers_the_scores_of_silence_only():
    score, energy = clips()
    score.requires_grad_()
    got = guide_terms(score, energy, 0.5, torch.ones_like(score, dtype=torch.bool))
    got["guide_loss"].backward()
    assert (score.grad[1, :5] > 0).all()
    assert not score.grad[:, 5:].any()
    assert not score.grad[0].any()
