import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skaudio.augmentation import AdditiveNoise, Chain, FrequencyMask, Gain, TimeMask, make_chain


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


def test_names_are_those_of_make_pipeline():
    steps = [Gain(), TimeMask(), Gain(), make_chain(Gain())]
    assert make_chain(*steps).steps == make_pipeline(*steps).steps


def test_a_list_becomes_a_chain_with_a_star():
    augmentations = [Gain((6, 6)), TimeMask()]
    chain = make_chain(*augmentations)
    assert [step for _, step in chain.steps] == augmentations
    assert chain.domains == {"waveform", "feature"}


@pytest.mark.parametrize("wrong", [Gain, StandardScaler(), [Gain()], None, "passthrough"], ids=str)
def test_what_is_chained_must_be_an_augmentation(wrong):
    with pytest.raises(TypeError, match=r"Augmentation 2 of 2 is .*, but expected an object with"):
        make_chain(TimeMask(), wrong)


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
