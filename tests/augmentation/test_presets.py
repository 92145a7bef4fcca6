import pytest
import torch
from sklearn.base import clone

from skaudio.augmentation import preset


@pytest.mark.parametrize("name", ["voice", "sound"])
class TestPreset:
    def test_changes_waveforms_and_features(self, name):
        chain = preset(name)
        assert chain.domains == {"waveform", "feature"}
        x = torch.randn(4, 8000, generator=torch.Generator().manual_seed(1))
        changed, lengths = chain.apply(
            x, torch.Generator().manual_seed(0), domain="waveform", sample_rate=16000
        )
        assert len(lengths.unique()) == 4
        assert changed.isfinite().all()
        features = x.view(4, 1, 40, 200)
        masked = chain.apply(features, torch.Generator().manual_seed(0), domain="feature")
        assert masked.shape == features.shape
        assert not torch.equal(masked, features)

    def test_each_call_makes_its_own(self, name):
        changed = preset(name).set_params(gain__gain_db=(0, 0))
        assert preset(name).get_params()["gain__gain_db"] == (-6.0, 6.0)
        assert clone(changed).get_params()["gain__gain_db"] == (0, 0)


def test_unknown_name():
    with pytest.raises(ValueError, match="got 'speech', but expected 'voice' or 'sound'"):
        preset("speech")
