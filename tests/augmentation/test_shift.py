import pytest
import torch

from skaudio.augmentation import TimeShift

RATE = 1000


def shift(x, seed=0, lengths=None, sample_rate=RATE, **parameters):
    generator = torch.Generator().manual_seed(seed)
    return TimeShift(**parameters).apply(
        x, generator, domain="waveform", sample_rate=sample_rate, lengths=lengths
    )


def ramps(n_clips, n_samples=400):
    return torch.arange(1.0, n_samples + 1).repeat(n_clips, 1)


def test_roll_moves_every_clip_around():
    x = ramps(300)
    rolled = shift(x, max_shift=0.05, fill="roll")
    offsets = (x[:, 0] - rolled[:, 0] + 200) % 400 - 200
    for clip, moved, offset in zip(x, rolled, offsets.int().tolist(), strict=True):
        assert torch.equal(moved, torch.roll(clip, offset))
    assert offsets.abs().max() <= 50
    assert offsets.max() > 40
    assert offsets.min() < -40


def test_zero_fills_with_silence():
    x = ramps(300)
    moved = shift(x, max_shift=0.05)
    rolled = shift(x, max_shift=0.05, fill="roll")
    later = rolled[:, :1] > 200  # the end came in at the front
    order = rolled.diff(dim=1, prepend=rolled[:, :1]) < 0
    wrapped = torch.where(later, order.cumsum(1) == 0, order.cumsum(1) > 0)
    assert torch.equal(moved, torch.where(wrapped, 0, rolled))
    assert (moved == 0).any()


def test_roll_keeps_the_energy_of_the_real_samples():
    lengths = torch.tensor([400, 123, 7, 1])
    x = ramps(4) * (torch.arange(400) < lengths[:, None])
    rolled = shift(x, fill="roll", lengths=lengths)
    assert torch.equal(rolled.sort(dim=1).values, x.sort(dim=1).values)


@pytest.mark.parametrize("fill", ["zero", "roll"])
def test_at_most_half_the_clip(fill):
    x = torch.zeros(500, 10)
    x[:, 5] = 1
    moved = shift(x, max_shift=100.0, fill=fill)
    assert (moved.sum(1) == 1).sum() >= 400  # only the farthest shift to the right leaves
    assert moved.sum(0).count_nonzero() == 10


def test_seconds_follow_the_sample_rate():
    x = ramps(300)
    far = [
        ((x[:, 0] - shift(x, fill="roll", max_shift=0.02, sample_rate=rate)[:, 0] + 200) % 400)
        .sub(200)
        .abs()
        .max()
        for rate in (1000, 5000)
    ]
    assert far == [20, 100]


def test_needs_a_sample_rate():
    with pytest.raises(ValueError, match=r"TimeShift: max_shift is in seconds, but .*sample_rate"):
        shift(ramps(1), sample_rate=None)
