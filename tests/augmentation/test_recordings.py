import numpy as np
import pytest
import torch

from skaudio.augmentation import RecordedNoise, Reverberation


def apply(augmentation, x, seed=0, lengths=None):
    generator = torch.Generator().manual_seed(seed)
    return augmentation.apply(x, generator, domain="waveform", lengths=lengths)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class TestRecordedNoise:
    def test_ratio_of_powers(self, rng):
        x = torch.from_numpy(rng.normal(size=(20, 500)))
        noise = RecordedNoise([rng.normal(size=2000)], snr_db=(6, 6))
        added = apply(noise, x) - x
        ratio = x.square().mean(1) / added.square().mean(1)
        torch.testing.assert_close(
            10 * ratio.log10(), torch.full((20,), 6.0).double(), rtol=1e-5, atol=0
        )

    def test_parts_of_recordings(self):
        # A ramp tells where a part comes from.
        ramp = np.arange(1.0, 101)
        x = torch.ones(300, 30)
        noise = apply(RecordedNoise([ramp], snr_db=(0, 0)), x) - x
        # The power is set to that of x, so that the ratio of two samples gives the place.
        step = noise[:, 1:] - noise[:, :1]
        start = (noise[:, 0] / step[:, 0]).round()
        assert start.min() == 1
        assert start.max() == 71
        assert len(start.unique()) > 60

    def test_short_recordings_are_repeated(self):
        x = torch.ones(50, 30)
        noise = apply(RecordedNoise([[1.0, -1.0, 0.0]], snr_db=(0, 0)), x) - x
        torch.testing.assert_close(noise[:, 3:], noise[:, :-3])
        assert len(noise[:, 0].round(decimals=3).unique()) == 3

    def test_all_recordings_are_used(self):
        x = torch.ones(100, 8)
        recordings = [np.ones(20), -np.ones(9), np.tile([1.0, -1.0], 10)]
        noise = apply(RecordedNoise(recordings, snr_db=(0, 0)), x) - x
        kinds = noise.sum(1).round()
        assert [(kinds == kind).sum().item() > 20 for kind in (8, -8, 0)] == [True] * 3

    def test_a_part_is_as_long_as_the_clip_and_not_as_its_batch(self):
        ramp = np.arange(1.0, 101)
        x = torch.ones(200, 150)
        lengths = torch.full((200,), 30)
        noise = apply(RecordedNoise([ramp], snr_db=(0, 0)), x, lengths=lengths) - x
        assert (noise[:, :30].diff() > 0).all()  # none goes over the end of the ramp
        assert (noise[:, 30:] == 0).all()

    def test_a_silent_part_changes_nothing(self):
        x = torch.ones(5, 30)
        assert torch.equal(apply(RecordedNoise([np.zeros(50)], snr_db=(-20, -20)), x), x)

    def test_silence_stays_silent(self, rng):
        assert (apply(RecordedNoise([rng.normal(size=50)]), torch.zeros(3, 40)) == 0).all()


class TestReverberation:
    def test_is_a_convolution(self, rng):
        response = rng.normal(size=40) * 0.9 ** np.arange(40)
        response[0] = 5  # the direct sound
        x = rng.normal(size=(3, 200))
        found = apply(Reverberation([response]), torch.from_numpy(x)).numpy()
        for dry, wet in zip(x, found, strict=True):
            expected = np.convolve(dry, response.astype(np.float32))[:200]
            expected *= np.linalg.norm(dry) / np.linalg.norm(expected)
            np.testing.assert_allclose(wet, expected, atol=1e-6)

    def test_an_impulse_is_identity(self, rng):
        x = torch.from_numpy(rng.normal(size=(3, 200)))
        for response in ([1.0], [0.0, 0.0, 3.0], [0.2]):
            torch.testing.assert_close(apply(Reverberation([response]), x), x)

    def test_the_direct_sound_keeps_its_time(self, rng):
        response = np.zeros(300)
        response[[100, 150]] = 1, 0.4
        x = torch.zeros(1, 1000)
        x[0, 500] = 1
        wet = apply(Reverberation([response]), x)[0]
        assert wet.abs().topk(2).indices.tolist() == [500, 550]

    def test_power_is_kept_whatever_the_padding(self, rng):
        response = rng.normal(size=50)
        x = torch.from_numpy(rng.normal(size=(2, 400)))
        lengths = torch.tensor([400, 130])
        wet = apply(Reverberation([response]), x, lengths=lengths)
        for row, n in enumerate(lengths):
            assert wet[row, :n].square().sum() == pytest.approx(x[row, :n].square().sum().item())

    def test_all_responses_are_used(self):
        x = torch.zeros(60, 5)
        x[:, 0] = 1
        wet = apply(Reverberation([[1.0], [1.0, 0.5], [1.0, 0.0, 0.5]]), x)
        assert len(wet.round(decimals=3).unique(dim=0)) == 3

    def test_silence_stays_silent_and_has_a_gradient(self, rng):
        x = torch.zeros(2, 40, requires_grad=True)
        wet = apply(Reverberation([rng.normal(size=9)]), x)
        assert (wet == 0).all()
        wet.sum().backward()
        assert x.grad.isfinite().all()


def test_a_silent_response_is_refused():
    with pytest.raises(ValueError, match=r"responses\[1\] is silent, but expected an impulse"):
        apply(Reverberation([np.ones(3), np.zeros(3)]), torch.ones(1, 8))
