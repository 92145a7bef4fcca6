import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skaudio.augmentation import (
    AdditiveNoise,
    Chain,
    FrequencyMask,
    Gain,
    OneOf,
    SpeedChange,
    TimeMask,
    TimeShift,
    make_chain,
    make_one_of,
)


@pytest.fixture
def chain():
    return Chain([("gain", Gain((6, 6))), ("noise", AdditiveNoise()), ("mask", TimeMask())])


def apply(augmentation, x, domain="waveform", seed=0):
    return augmentation.apply(x, torch.Generator().manual_seed(seed), domain=domain)


def test_steps_act_in_turn_on_one_generator(chain):
    x = torch.ones(4, 50)
    generator = torch.Generator().manual_seed(0)
    expected = x
    for _, step in chain.steps:
        expected = step.apply(expected, generator, domain="waveform")
    assert torch.equal(apply(chain, x), expected)


def test_order_matters():
    x = torch.ones(1, 1000)
    quiet = Gain((-40, -40))
    noise = AdditiveNoise((0, 0))
    after = apply(make_chain(quiet, noise), x)
    before = apply(make_chain(noise, quiet), x)
    assert not torch.equal(after, before)


def test_domains(chain):
    assert chain.domains == {"waveform", "feature"}
    assert make_chain(Gain()).domains == {"waveform"}
    assert make_chain(TimeMask(), FrequencyMask()).domains == {"feature"}
    assert make_chain().domains == frozenset()
    assert make_chain(make_chain(Gain()), TimeMask()).domains == {"waveform", "feature"}


def test_empty_chain_changes_nothing():
    x = torch.ones(2, 5)
    assert apply(make_chain(), x) is x


def test_nested_parameters_are_those_of_a_pipeline(chain):
    params = chain.get_params()
    assert params["noise__snr_db"] == (10.0, 30.0)
    assert params["noise"] is chain.steps[1][1]
    assert set(chain.get_params(deep=False)) == {"steps"}
    chain.set_params(noise__snr_db=(0, 1), gain=Gain((1, 1)))
    assert chain.steps[1][1].snr_db == (0, 1)
    assert chain.steps[0][1].gain_db == (1, 1)
    with pytest.raises(ValueError, match="Invalid parameter 'loudness'"):
        chain.set_params(loudness__snr_db=1)


def test_lengths_are_passed_on_from_step_to_step():
    x = torch.zeros(2, 100)
    x[:, 50] = 1
    chain = make_chain(SpeedChange((0.5, 0.5)), TimeShift(5.0, fill="roll"), SpeedChange((2, 2)))
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([100, 60])
    changed, ends = chain.apply(x, generator, domain="waveform", sample_rate=10, lengths=lengths)
    assert ends.tolist() == [100, 60]
    # Twice as long, a clip was rolled by its own new length: nothing of it left the clip.
    energy = changed.abs() > 0.2
    assert (energy.float() * torch.arange(100)).argmax(1).lt(ends).all()
    assert energy.any(1).all()


def test_names_are_those_of_make_pipeline():
    steps = [Gain(), TimeMask(), Gain(), make_chain(Gain())]
    assert make_chain(*steps).steps == make_pipeline(*steps).steps
    assert make_one_of(*steps).steps == make_pipeline(*steps).steps


def test_a_list_becomes_a_chain_with_a_star():
    augmentations = [Gain((6, 6)), TimeMask()]
    chain = make_chain(*augmentations)
    assert [step for _, step in chain.steps] == augmentations
    assert chain.domains == {"waveform", "feature"}


@pytest.mark.parametrize("wrong", [Gain, StandardScaler(), [Gain()], None, "passthrough"], ids=str)
def test_what_is_chained_must_be_an_augmentation(wrong):
    for make in (make_chain, make_one_of):
        with pytest.raises(TypeError, match=r"Augmentation 2 of 2 is .*, but expected an object"):
            make(TimeMask(), wrong)


def test_clone_is_deep(chain):
    copy = clone(chain)
    copy.set_params(gain__gain_db=(0, 0))
    assert chain.get_params()["gain__gain_db"] == (6, 6)


def test_grids_of_an_estimator_reach_the_parameters(chain):
    class Estimator(BaseEstimator):
        def __init__(self, augmentation=None):
            self.augmentation = augmentation

    estimator = clone(Estimator(chain)).set_params(augmentation__noise__snr_db=(1, 2))
    assert estimator.augmentation.steps[1][1].snr_db == (1, 2)


def test_a_step_can_be_left_out(chain):
    x = torch.ones(2, 5)
    chain.set_params(noise="passthrough", mask="passthrough")
    assert torch.equal(apply(chain, x), apply(Gain((6, 6)), x))
    assert chain.domains == {"waveform"}


def test_an_augmentation_of_ones_own():
    class Reverse(BaseEstimator):
        domains = frozenset(["waveform"])

        def apply(self, x, generator, *, domain, sample_rate=None, lengths=None):
            return x.flip(-1)

    assert apply(make_chain(Reverse()), torch.tensor([[1, 2]])).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    "steps",
    [
        Gain(),
        [Gain()],
        [("gain", Gain)],
        [("scale", StandardScaler())],
        [("gain", "skip")],
        [("a", Gain(), 1)],
        None,
    ],
    ids=str,
)
def test_steps_must_be_named_augmentations(steps):
    with pytest.raises(ValueError, match=r"Chain: steps is .* expected a list of \(name, augm"):
        apply(Chain(steps), torch.ones(1, 5))


@pytest.mark.parametrize(
    ("names", "message"),
    [(("a", "a"), "not unique"), (("a__b", "c"), "must not contain __"), (("steps", "b"), "confl")],
)
def test_names_must_work_as_parameters(names, message):
    with pytest.raises(ValueError, match=message):
        apply(Chain([(name, Gain()) for name in names]), torch.ones(1, 5))


class TestOneOf:
    def test_each_clip_gets_one_of_them(self):
        steps = [Gain((20, 20)), Gain((40, 40)), Gain((60, 60))]
        gains = apply(make_one_of(*steps), torch.ones(900, 1))
        values, counts = gains.unique(return_counts=True)
        torch.testing.assert_close(values, torch.tensor([10.0, 100.0, 1000.0]))
        assert (counts > 230).all()

    def test_probability(self):
        some = make_one_of(Gain((20, 20)), Gain((40, 40)), probability=0.3)
        changed = apply(some, torch.ones(1000, 1)) != 1
        assert 0.24 < changed.float().mean() < 0.36
        x = torch.ones(5, 1)
        assert torch.equal(apply(some.set_params(probability=0), x), x)

    def test_probabilities_of_steps_count_too(self):
        half = make_one_of(Gain((20, 20), probability=0.5), Gain((20, 20), probability=0.5))
        changed = apply(half, torch.ones(1000, 1)) != 1
        assert 0.44 < changed.float().mean() < 0.56

    def test_steps_of_the_other_domain_do_not_take_part(self):
        mixed = make_one_of(Gain((20, 20)), TimeMask(), FrequencyMask())
        assert mixed.domains == {"waveform", "feature"}
        assert (apply(mixed, torch.ones(50, 1)) == 10).all()
        x = torch.ones(2, 3)
        assert apply(make_one_of(TimeMask()), x) is x
        assert apply(make_one_of(), x) is x

    def test_lengths_are_those_of_the_step(self):
        one = make_one_of(SpeedChange((2, 2)), SpeedChange((0.5, 0.5)), Gain((20, 20)))
        changed, ends = apply(one, torch.ones(100, 40))
        assert sorted(ends.unique().tolist()) == [20, 40, 80]
        assert changed.shape == (100, 80)
        assert (changed[ends == 40][:, :40] == 10).all()
        for end in (20, 40):
            assert (changed[ends == end][:, end:] == 0).all()

    @pytest.mark.parametrize("shape", [(40, 9), (40, 2, 3, 9)])
    def test_padding_is_zero_where_lengths_are_new(self, shape):
        class Keep:
            domains = frozenset(["waveform", "feature"])

            def apply(self, x, generator, **kwargs):
                return x

        class Shorten(Keep):
            def apply(self, x, generator, **kwargs):
                return x[..., :3], torch.full((len(x),), 3)

        domain = "waveform" if len(shape) == 2 else "feature"
        one = OneOf([("a", Shorten()), ("b", Keep())])
        changed, ends = one.apply(
            torch.full(shape, 7.0), torch.Generator(), domain=domain,
            lengths=torch.full((40,), 5),
        )  # fmt: skip
        assert set(ends.tolist()) == {3, 5}
        assert changed.shape[-1] == 5
        for end in (3, 5):
            assert (changed[ends == end][..., :end] == 7).all()
            assert (changed[ends == end][..., end:] == 0).all()

    def test_the_longest_clip_sets_the_size(self):
        changed, ends = apply(make_one_of(SpeedChange((2, 2))), torch.ones(3, 40))
        assert changed.shape == (3, 20)
        assert ends.tolist() == [20] * 3

    def test_a_step_can_be_left_out_and_reached(self):
        one = OneOf([("a", Gain((20, 20))), ("b", Gain((40, 40)))])
        one.set_params(b="passthrough", a__gain_db=(60, 60))
        assert (apply(one, torch.ones(20, 1)) == 1000).all()

    def test_steps_must_be_named_augmentations(self):
        with pytest.raises(ValueError, match=r"OneOf: steps is .* expected a list of \(name, augm"):
            apply(OneOf([Gain()]), torch.ones(1, 5))
