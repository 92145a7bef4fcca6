import torch

from skaudio.augmentation import Gain


def measured_gain_db(gain_db, n_clips=1):
    x = torch.randn(n_clips, 50, generator=torch.Generator().manual_seed(1))
    loud = Gain(gain_db).apply(x, torch.Generator().manual_seed(0), domain="waveform")
    ratio = loud / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    return 20 * ratio[:, 0].log10()


def test_gain_is_exact():
    torch.testing.assert_close(measured_gain_db((7.5, 7.5)), torch.tensor([7.5]))
    torch.testing.assert_close(measured_gain_db((-60, -60)), torch.tensor([-60.0]))


def test_gain_is_uniform_over_its_range():
    gain_db = measured_gain_db((-3, 9), n_clips=2000)
    assert gain_db.min() > -3.001
    assert gain_db.max() < 9.001
    quarters = torch.histc(gain_db, bins=4, min=-3, max=9)
    assert (quarters > 400).all()
