import pytest
import torch

from skaudio.augmentation import FrequencyMask, TimeMask


def hide(mask, x, seed=0, lengths=None):
    return mask.apply(x, torch.Generator().manual_seed(seed), domain="feature", lengths=lengths)


def maps(n_clips=500, n_channels=1, n_bands=20, n_frames=100):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_clips, n_channels, n_bands, n_frames, generator=generator)


def runs(hidden):
    """Number of separate stretches in each row."""
    return (hidden.int().diff(dim=1, prepend=torch.zeros(len(hidden), 1).int()) == 1).sum(1)


@pytest.mark.parametrize(
    ("mask", "axis", "size"), [(TimeMask, -1, 100), (FrequencyMask, -2, 20)], ids=["time", "band"]
)
class TestBoth:
    @pytest.mark.parametrize("max_width", [0.05, 0.3, 1.0])
    def test_width_bounds(self, mask, axis, size, max_width):
        x = maps()
        changed = (hide(mask(1, max_width), x) != x)[:, 0]
        hidden = changed.any(1 if axis == -1 else 2)
        width = hidden.sum(1)
        assert width.max() == round(max_width * size)
        assert width.min() == 0
        assert (runs(hidden) <= 1).all()

    def test_whole_lines_are_hidden(self, mask, axis, size):
        x = maps()
        changed = (hide(mask(2, 0.3), x) != x)[:, 0]
        other = 1 if axis == -1 else 2
        assert torch.equal(changed.any(other), changed.all(other))

    def test_widths_and_places_are_uniform(self, mask, axis, size):
        x = maps(n_clips=4000, n_bands=20 if axis == -2 else 1, n_frames=100 if axis == -1 else 2)
        hidden = (hide(mask(1, 0.2), x) != x).any(-2 if axis == -1 else -1).flatten(1)
        counts = torch.bincount(hidden.sum(1))
        expected = 4000 / (0.2 * size + 1)
        assert len(counts) == 0.2 * size + 1
        assert ((counts > 0.7 * expected) & (counts < 1.3 * expected)).all()
        middle = hidden.float().mean(0)[size // 4 : -size // 4]
        assert middle.max() < 1.4 * middle.min()

    def test_number_of_masks(self, mask, axis, size):
        x = maps()
        changed = (hide(mask(4, 0.1), x) != x)[:, 0]
        stretches = runs(changed.any(1 if axis == -1 else 2))
        assert stretches.max() == 4

    def test_fill_is_the_mean_of_the_band_over_the_clips_own_frames(self, mask, axis, size):
        # bands of two kinds, as of decibels and saliences, which no mean should mix
        x = maps(n_clips=20, n_channels=2) - 40 * (torch.arange(20)[:, None] < 10)
        lengths = torch.randint(30, 101, (20,), generator=torch.Generator().manual_seed(2))
        changed = hide(mask(2, 0.4), x, lengths=lengths)
        for clip, masked, n in zip(x, changed, lengths.tolist(), strict=True):
            fill = clip[..., :n].mean(-1, keepdim=True).expand_as(clip)
            torch.testing.assert_close(masked, torch.where(masked == clip, clip, fill))


def test_time_mask_follows_the_clips_length():
    x = maps()
    lengths = torch.full((500,), 40)
    changed = hide(TimeMask(1, 0.25), x, lengths=lengths)
    hidden = (changed != x)[:, 0].any(1)
    assert hidden.sum(1).max() == 10
    assert not hidden[:, 40:].any()
    assert hidden[:, :40].any(0).all()


@pytest.mark.parametrize("max_width", [0.07, 0.29, 0.57, 0.58])
def test_fractions_that_floats_do_not_hold(max_width):
    x = maps(n_clips=3000, n_bands=1)
    width = (hide(TimeMask(1, max_width), x) != x).flatten(1).sum(1)
    assert width.max() == round(100 * max_width)


def test_one_band_cannot_be_hidden_by_a_fraction():
    x = maps(n_bands=1)
    assert torch.equal(hide(FrequencyMask(2, 0.5), x), x)
