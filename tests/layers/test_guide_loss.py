import numpy as np
import pytest
import torch

from skaudio.layers.guide_loss import guide_terms


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
def test_definition(rate):
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
