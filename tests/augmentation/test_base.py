"""What holds for every augmentation."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skaudio.augmentation import (
    AdditiveNoise,
    Augmentation,
    Chain,
    FeatureNoise,
    FrequencyMask,
    Gain,
    PitchShift,
    RandomFilter,
    RecordedNoise,
    Reverberation,
    SpeedChange,
    TimeMask,
    TimeShift,
    VocalTractWarp,
    make_chain,
    make_one_of,
)

RATE = 100


def names(cases):
    return [
        f"{i}-{type(augmentation).__name__}-{domain}"
        for i, (augmentation, domain) in enumerate(cases)
    ]


RNG = np.random.default_rng(0)
NOISES = [RNG.normal(size=500), RNG.normal(size=70)]
ROOMS = [RNG.normal(size=size) * 0.8 ** np.arange(size) for size in range(5, 35)]
WAVEFORM = [
    Gain(),
    AdditiveNoise(),
    AdditiveNoise(color="pink"),
    TimeShift(),
    TimeShift(fill="roll"),
    PitchShift(),
    RandomFilter(),
    RecordedNoise(NOISES),
    Reverberation(ROOMS),
]
FEATURE = [
    TimeMask(max_width=0.5), FrequencyMask(max_width=0.5), VocalTractWarp(), FeatureNoise(),
]  # fmt: skip
SINGLE = [(a, "waveform") for a in [*WAVEFORM, SpeedChange()]] + [(a, "feature") for a in FEATURE]
BOTH = [
    make_chain(*WAVEFORM, SpeedChange(), *FEATURE),
    make_one_of(*WAVEFORM, SpeedChange(), *FEATURE),
    make_one_of(make_chain(SpeedChange(), Gain()), PitchShift(), *FEATURE),
    make_chain(make_one_of(Gain(), SpeedChange()), make_one_of(*FEATURE), TimeShift()),
]
CASES = SINGLE + [(a, domain) for a in BOTH for domain in ("waveform", "feature")]
KEEPING = [case for case in CASES if "SpeedChange" not in repr(case[0]) or case[1] == "feature"]

every = pytest.mark.parametrize(("augmentation", "domain"), CASES, ids=names(CASES))
every_keeping = pytest.mark.parametrize(("augmentation", "domain"), KEEPING, ids=names(KEEPING))


def batch(domain, n_clips=6, dtype=torch.float32, n_frames=200):
    shape = (n_clips, n_frames) if domain == "waveform" else (n_clips, 2, 20, n_frames)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def apply_pair(augmentation, x, domain, seed=0, lengths=None):
    """Return the changed batch and its lengths; those given, or None, if they do not change."""
    generator = torch.Generator().manual_seed(seed)
    options = {"domain": domain, "sample_rate": RATE, "lengths": lengths}
    changed = augmentation.apply(x, generator, **options)
    return changed if isinstance(changed, tuple) else (changed, lengths)


def apply(augmentation, x, domain, seed=0, lengths=None):
    return apply_pair(augmentation, x, domain, seed, lengths)[0]


@every
class TestEveryAugmentation:
    def test_keeps_dtype_and_its_input(self, augmentation, domain):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            x = batch(domain, dtype=dtype)
            before = x.clone()
            changed = apply(augmentation, x, domain)
            assert changed.shape[:-1] == x.shape[:-1]
            assert changed.dtype == dtype
            assert changed.isfinite().all()
            assert torch.equal(x, before)
            assert changed.shape != x.shape or not torch.equal(changed, x)

    def test_same_generator_state_same_result(self, augmentation, domain):
        x = batch(domain)
        assert torch.equal(apply(augmentation, x, domain), apply(augmentation, x, domain))
        assert not torch.equal(apply(augmentation, x, domain), apply(augmentation, x, domain, 1))

    def test_clone_draws_the_same(self, augmentation, domain):
        x = batch(domain)
        for same in (clone(augmentation), pickle.loads(pickle.dumps(augmentation))):
            assert same is not augmentation
            assert torch.equal(apply(same, x, domain), apply(augmentation, x, domain))

    def test_global_generator_is_left_alone(self, augmentation, domain):
        before = torch.get_rng_state()
        apply(augmentation, batch(domain), domain)
        assert torch.equal(torch.get_rng_state(), before)

    def test_each_clip_has_a_draw_of_its_own(self, augmentation, domain):
        x = batch(domain, n_clips=1).expand(8, *[-1] * (1 if domain == "waveform" else 3))
        assert len(apply(augmentation, x, domain).flatten(1).unique(dim=0)) > 4

    def test_a_clip_does_not_depend_on_its_neighbours(self, augmentation, domain):
        x = batch(domain)
        others = torch.cat([x[:1], 5 * x[1:].flip(0)])
        changed = apply(augmentation, x, domain)[0]
        torch.testing.assert_close(apply(augmentation, others, domain)[0], changed)

    def test_padding_is_not_looked_at(self, augmentation, domain):
        x = batch(domain)
        lengths = torch.tensor([200, 150, 100, 7, 1, 0])
        real = torch.arange(200) < lengths.view(-1, *[1] * (x.ndim - 1))
        results = [
            apply_pair(augmentation, x.where(real, fill), domain, lengths=lengths)
            for fill in (0, 1e6)
        ]
        for changed, ends in results:
            real = torch.arange(changed.shape[-1]) < ends.view(-1, *[1] * (x.ndim - 1))
            changed.mul_(real)
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])

    def test_full_lengths_are_no_lengths(self, augmentation, domain):
        x = batch(domain)
        expected = apply(augmentation, x, domain)
        assert torch.equal(apply(augmentation, x, domain, lengths=torch.full((6,), 200)), expected)

    def test_gradient_flows(self, augmentation, domain):
        x = batch(domain).requires_grad_()
        apply(augmentation, x, domain).sum().backward()
        assert x.grad.isfinite().all()

    @pytest.mark.parametrize("n_frames", [1, 2, 3])
    def test_tiny_clips(self, augmentation, domain, n_frames):
        x = batch(domain, n_frames=n_frames)
        assert apply(augmentation, x, domain).isfinite().all()

    def test_is_an_augmentation(self, augmentation, domain):
        assert isinstance(augmentation, Augmentation)
        assert domain in augmentation.domains

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_same_draws_on_a_gpu(self, augmentation, domain):
        x, lengths = batch(domain), torch.tensor([200, 150, 100, 7, 1, 0])
        on_gpu = apply(augmentation, x.cuda(), domain, lengths=lengths.cuda())
        assert on_gpu.is_cuda
        expected = apply(augmentation, x, domain, lengths=lengths)
        torch.testing.assert_close(on_gpu.cpu(), expected, rtol=1e-4, atol=1e-4)


@every_keeping
class TestEveryAugmentationThatKeepsLengths:
    def test_keeps_shape(self, augmentation, domain):
        x = batch(domain)
        generator = torch.Generator().manual_seed(0)
        changed = augmentation.apply(x, generator, domain=domain, sample_rate=RATE)
        assert isinstance(changed, torch.Tensor)
        assert changed.shape == x.shape

    def test_padding_is_left_as_it_is(self, augmentation, domain):
        x = batch(domain)
        lengths = torch.tensor([200, 150, 100, 7, 1, 0])
        padding = torch.arange(200) >= lengths.view(-1, *[1] * (x.ndim - 1))
        changed = apply(augmentation, x, domain, lengths=lengths)
        assert changed.isfinite().all()
        assert torch.equal(changed.where(padding, 0), x.where(padding, 0))
        assert not torch.equal(changed, x)


@pytest.mark.parametrize(("augmentation", "domain"), SINGLE, ids=names(SINGLE))
class TestEverySingleAugmentation:
    def test_probability(self, augmentation, domain):
        x = batch(domain, n_clips=400)
        never = clone(augmentation).set_params(probability=0)
        assert apply(never, x, domain) is x
        touched = []
        for probability in (0.3, 1.0):
            often = clone(augmentation).set_params(probability=probability)
            changed, lengths = apply_pair(often, x, domain, lengths=torch.full((400,), 200))
            size = min(200, changed.shape[-1])
            differs = (changed[..., :size] != x[..., :size]).flatten(1).any(1)
            touched.append((differs | (lengths != 200)).float().mean().item())
        # A mask of no width leaves a clip as it is.
        assert touched[1] > 0.75
        assert 0.2 < touched[0] / touched[1] < 0.4

    def test_other_domain_passes(self, augmentation, domain):
        other = "waveform" if domain == "feature" else "feature"
        generator = torch.Generator().manual_seed(0)
        state = generator.get_state()
        x = batch(other)
        assert augmentation.apply(x, generator, domain=other) is x
        assert torch.equal(generator.get_state(), state)

    def test_unknown_domain(self, augmentation, domain):
        with pytest.raises(ValueError, match="domain is 'features', but expected 'waveform' or"):
            apply(augmentation, batch(domain), "features")

    def test_probability_out_of_range(self, augmentation, domain):
        wrong = clone(augmentation).set_params(probability=1.5)
        with pytest.raises(ValueError, match=r"'probability' parameter of .* Got 1.5 instead"):
            apply(wrong, batch(domain), domain)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (Gain(gain_db=3), r"'gain_db' parameter of Gain must be a pair \(low, high\).* Got 3 inst"),
        (Gain(gain_db=(3, -3)), r"with low <= high, .* Got \(3, -3\)"),
        (Gain(gain_db=(0, float("nan"))), r"'gain_db' .* Got \(0, nan\)"),
        (AdditiveNoise(snr_db=(1, 2, 3)), r"'snr_db' .* Got \(1, 2, 3\)"),
        (AdditiveNoise(color="blue"), "'color' parameter of AdditiveNoise .*'blue'"),
        (TimeShift(max_shift=0), "'max_shift' parameter of TimeShift .* Got 0"),
        (TimeShift(fill="mirror"), "'fill' parameter of TimeShift .*'mirror'"),
        (SpeedChange(factors=(0, 1)), r"'factors' parameter of SpeedChange .* Got \(0, 1\)"),
        (PitchShift(semitones=(0, 25)), r"'semitones' parameter of PitchShift .* Got \(0, 25\)"),
        (RandomFilter(max_gain_db=0), "'max_gain_db' parameter of RandomFilter .* Got 0"),
        (RandomFilter(n_points=1), "'n_points' parameter of RandomFilter .* Got 1"),
        (RecordedNoise([]), r"RecordedNoise: recordings is \[\], but expected a list"),
        (RecordedNoise(np.ones(3)), "RecordedNoise: recordings is array"),
        (RecordedNoise(NOISES, (5, 1)), r"'snr_db' parameter of RecordedNoise .* Got \(5, 1\)"),
        (Reverberation([np.ones((2, 3))]), r"responses\[0\] has the shape \(2, 3\), but expected"),
        (Reverberation([[1.0], []]), r"responses\[1\] has the shape \(0,\)"),
        (Reverberation([[1.0, np.nan]]), r"responses\[0\] has values that are NaN or infinite"),
        (make_one_of(Gain(), probability=2), "'probability' parameter of OneOf .* Got 2"),
    ],
    ids=str,
)
def test_waveform_parameters(augmentation, message):
    with pytest.raises(ValueError, match=message):
        apply(augmentation, batch("waveform"), "waveform")


@pytest.mark.parametrize(
    "augmentation", [TimeShift(), PitchShift(), RandomFilter()], ids=lambda a: type(a).__name__
)
def test_sample_rate_is_needed(augmentation):
    with pytest.raises(ValueError, match=f"{type(augmentation).__name__}: .* Pass sample_rate to"):
        augmentation.apply(batch("waveform"), torch.Generator(), domain="waveform")


@pytest.mark.parametrize("mask", [TimeMask, FrequencyMask])
@pytest.mark.parametrize(("name", "value"), [("n_masks", 0), ("max_width", 0), ("max_width", 1.1)])
def test_mask_parameters(mask, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of {mask.__name__} .* Got {value}"):
        apply(mask(**{name: value}), batch("feature"), "feature")


def test_repr_shows_what_differs():
    assert repr(Gain(gain_db=(0, 3))) == "Gain(gain_db=(0, 3))"
    assert repr(Chain([("gain", Gain())])) == "Chain(steps=[('gain', Gain())])"
