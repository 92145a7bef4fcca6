import pytest
import torch

from skaudio.augmentation import FeatureNoise


def noise_on(x, **parameters):
    generator = torch.Generator().manual_seed(0)
    return FeatureNoise(**parameters).apply(x, generator, domain="feature") - x


@pytest.mark.parametrize("variance", [0.0, 0.25, 9.0])
@pytest.mark.parametrize("level", [0.0, -80.0])
def test_variance_is_what_was_asked_whatever_the_level(variance, level):
    noise = noise_on(torch.full((4, 1, 64, 400), level), variance=variance)
    assert noise.var().item() == pytest.approx(variance, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.02 * variance**0.5 + 1e-9)


def test_cells_are_unrelated():
    noise = noise_on(torch.zeros(1, 1, 200, 200))[0, 0]
    for first, second in [(noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])]:
        assert abs((first * second).mean().item()) < 0.02


def test_a_negative_variance():
    with pytest.raises(ValueError, match=r"'variance' parameter of FeatureNoise must be a float"):
        noise_on(torch.zeros(1, 1, 2, 2), variance=-1.0)
