import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from skaudio.layers import (
    ConstrainedConv1d,
    ConstrainedConv2d,
    ConstrainedLinear,
    DepthwiseConv2d,
    NormConstraint,
    SeparableConv2d,
    project_norms,
)

BOUNDS = {
    "max": {"max_norm": 0.5},
    "minmax": {"max_norm": 1.2, "min_norm": 0.8},
    "unit": {"max_norm": 1.0, "min_norm": 1.0},
}
OPTIMIZERS = {
    "SGD": lambda weights: torch.optim.SGD(weights, lr=1.0, momentum=0.9),
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.5),
    "AdamW": lambda weights: torch.optim.AdamW(weights, lr=0.5, weight_decay=0.1),
    "RMSprop": lambda weights: torch.optim.RMSprop(weights, lr=0.5),
    "Adagrad": lambda weights: torch.optim.Adagrad(weights, lr=1.0),
    "Rprop": lambda weights: torch.optim.Rprop(weights, lr=0.5),
    "NAdam": lambda weights: torch.optim.NAdam(weights, lr=0.5),
}


@st.composite
def weights(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    scale = draw(st.sampled_from([1e-3, 0.3, 1.0, 30.0, 1e4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return torch.from_numpy(scale * rng.standard_normal(shape)).float()


@st.composite
def constraints(draw, n_axes, rate=1.0, kinds=("max", "minmax", "unit")):
    axes = draw(
        st.lists(st.integers(-n_axes, n_axes - 1), min_size=1, unique_by=lambda a: a % n_axes)
    )
    low, high = sorted(draw(st.tuples(st.floats(0.05, 5.0), st.floats(0.05, 5.0))))
    kind = draw(st.sampled_from(kinds))
    bounds = {"max": (high, None), "minmax": (high, low), "unit": (1.0, 1.0)}[kind]
    return NormConstraint(*bounds, axes, rate)


def norms(weight, constraint):
    return np.sqrt(np.square(weight.detach().double().numpy()).sum(constraint.axes, keepdims=True))


def reference(weight, constraint, eps=1e-9):
    """The table of the constraints, in float64."""
    weight = weight.detach().double().numpy()
    norm = np.sqrt(np.square(weight).sum(constraint.axes, keepdims=True))
    # UnitNorm, both bounds 1, knows no rate.
    is_unit = constraint.min_norm == constraint.max_norm == 1.0
    rate = 1.0 if is_unit or constraint.min_norm is None else constraint.minmax_rate
    clipped = np.clip(norm, constraint.min_norm or 0.0, constraint.max_norm)
    return weight * (rate * clipped + (1 - rate) * norm) / (eps + norm)


@settings(deadline=None)
@given(st.data())
def test_projection_holds_bounds_follows_formula_and_is_idempotent(data):
    weight = data.draw(weights())
    constraint = data.draw(constraints(weight.ndim))
    expected = reference(weight, constraint)
    constraint.project_(weight)
    np.testing.assert_allclose(weight.numpy(), expected, rtol=2e-6, atol=1e-9)
    norm = norms(weight, constraint)
    assert (norm <= constraint.max_norm * (1 + 1e-5)).all()
    # The formula's epsilon leaves what was lifted from a very small norm a little short.
    constraint.project_(weight)
    if constraint.min_norm is not None:
        assert (norms(weight, constraint) >= constraint.min_norm * (1 - 1e-5)).all()
    assert not constraint.is_broken_by(weight)
    once = weight.clone()
    constraint.project_(weight)
    assert torch.equal(weight, once)


@settings(deadline=None)
@given(st.data())
def test_what_is_within_bounds_keeps_its_bits(data):
    weight = data.draw(weights())
    constraint = data.draw(constraints(weight.ndim, rate=data.draw(st.sampled_from([1.0, 0.3]))))
    norm = norms(weight, constraint)
    low = constraint.min_norm or 0.0
    inside = np.broadcast_to((low <= norm) & (norm <= constraint.max_norm), weight.shape)
    before = weight.numpy().copy()
    constraint.project_(weight)
    np.testing.assert_array_equal(weight.numpy()[inside], before[inside])


def test_part_of_the_rows_moves_and_part_stays():
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-0.0, 1.0]])
    NormConstraint(1.0).project_(weight)
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0], [-0.0, 1.0]])
    torch.testing.assert_close(weight, expected)
    assert torch.equal(weight[1:].view(torch.int32), expected[1:].view(torch.int32))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_rate_goes_part_of_the_way_and_converges(data):
    weight = data.draw(weights())
    rate = data.draw(st.floats(0.2, 0.9))
    constraint = data.draw(constraints(weight.ndim, rate, kinds=["minmax"]))
    assume(norms(weight, constraint).min() > 1e-6)
    expected = reference(weight, constraint)
    constraint.project_(weight)
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5)
    for _ in range(150):
        constraint.project_(weight)
    norm = norms(weight, constraint)
    assert (norm <= constraint.max_norm * (1 + 1e-5)).all()
    assert (norm >= constraint.min_norm * (1 - 1e-5)).all()


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_unit_norm_and_max_norm_know_no_rate(rate):
    for bounds in (BOUNDS["unit"], BOUNDS["max"]):
        weight = torch.full((3, 4), 2.0)
        constraint = NormConstraint(**bounds, minmax_rate=rate)
        constraint.project_(weight)
        np.testing.assert_allclose(norms(weight, constraint), bounds["max_norm"], rtol=1e-6)


def test_without_max_norm_nothing_happens():
    weight = torch.randn(3, 4)
    before = weight.clone()
    NormConstraint(None, min_norm=100.0).project_(weight)
    assert torch.equal(weight, before)


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 3e3])
def test_every_precision_projects_as_float64_does(bounds, dtype, scale):
    # In float16 a square of 1e-4 is zero and one of 3e3 is infinite.
    weight = (scale * torch.randn(6, 40, generator=torch.Generator().manual_seed(0))).to(dtype)
    constraint = NormConstraint(**bounds)
    expected = torch.from_numpy(reference(weight, constraint))
    constraint.project_(weight)
    assert weight.dtype == dtype
    torch.testing.assert_close(
        weight.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-7
    )
    constraint.project_(weight)  # finishes what the formula's epsilon left short
    once = weight.clone()
    constraint.project_(weight)
    assert torch.equal(weight, once)


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_zeros_stay_zeros(bounds, dtype):
    weight = torch.zeros(3, 4, dtype=dtype)
    NormConstraint(**bounds).project_(weight)
    assert torch.equal(weight, torch.zeros(3, 4, dtype=dtype))


@pytest.mark.parametrize("n_inputs", [9, 10_000, 1_000_000])
def test_long_sums_do_not_look_out_of_bounds(n_inputs):
    weight = torch.randn(2, n_inputs)
    constraint = NormConstraint(0.25)
    constraint.project_(weight)
    assert not constraint.is_broken_by(weight)
    np.testing.assert_allclose(norms(weight, constraint), 0.25, rtol=2e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_norm": 0}, r"max_norm=0, but expected a number > 0"),
        ({"max_norm": -1.0}, r"max_norm=-1\.0, but expected"),
        ({"max_norm": float("nan")}, r"max_norm=nan, but expected"),
        ({"max_norm": "2"}, r"max_norm='2', but expected"),
        ({"max_norm": 1.0, "min_norm": 0.0}, r"min_norm=0\.0, but expected a number > 0"),
        ({"max_norm": None, "min_norm": -1}, r"min_norm=-1, but expected"),
        ({"max_norm": 1.0, "min_norm": 2.0}, r"min_norm=2\.0 exceeds max_norm=1\.0"),
        ({"minmax_rate": 0.0}, r"minmax_rate=0\.0, but expected a number in \(0, 1\]"),
        ({"minmax_rate": 1.5}, r"minmax_rate=1\.5, but expected"),
        ({"axis_norm": 2}, r"axis_norm=2 names an axis that does not exist.* axes 0 to 1"),
        ({"axis_norm": (0, -3)}, r"axis_norm=\(0, -3\) names an axis that does not exist"),
        ({"axis_norm": (1, -1)}, r"axis_norm=\(1, -1\) names an axis twice"),
        ({"axis_norm": ()}, r"axis_norm=\(\), but expected one or more distinct integers"),
        ({"axis_norm": (1, 1)}, r"axis_norm=\(1, 1\), but expected one or more distinct integers"),
        ({"axis_norm": 1.0}, r"axis_norm=1\.0, but expected one or more distinct integers"),
        ({"axis_norm": "ab"}, r"axis_norm='ab', but expected one or more distinct integers"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConstrainedLinear(4, 3, **arguments)


def make_layers(bounds, rate=1.0):
    """Pairs of a constrained layer and its input, every kind of layer once."""
    given = {**bounds, "minmax_rate": rate}
    layers = [
        (ConstrainedLinear(12, 5, **given), (3, 12)),
        (ConstrainedConv1d(3, 4, 5, padding="causal", **given), (2, 3, 20)),
        (ConstrainedConv2d(3, 4, (3, 5), **given), (2, 3, 8, 10)),
        (DepthwiseConv2d(3, 2, (3, 5), **given), (2, 3, 8, 10)),
    ]
    return [(layer, torch.randn(shape)) for layer, shape in layers]


def grow_(layer, factor=10.0):
    with torch.no_grad():
        layer.weight.mul_(factor)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bound_holds_after_any_step_of_any_optimizer(data):
    kind = data.draw(st.sampled_from([ConstrainedConv2d, ConstrainedConv1d, ConstrainedLinear]))
    n_axes = {ConstrainedConv2d: 4, ConstrainedConv1d: 3, ConstrainedLinear: 2}[kind]
    n_in, n_out = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    size = data.draw(st.sampled_from([1, 3, 5]))
    drawn = data.draw(constraints(n_axes))
    given_bounds = {
        "max_norm": drawn.max_norm, "min_norm": drawn.min_norm, "axis_norm": drawn.axis_norm,
    }  # fmt: skip
    arguments = (n_in, n_out) if kind is ConstrainedLinear else (n_in, n_out, size)
    layer = kind(*arguments, **given_bounds)
    x = torch.randn((3, n_in) + (7,) * (n_axes - 2))
    optimizer = OPTIMIZERS[data.draw(st.sampled_from(sorted(OPTIMIZERS)))](layer.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
        before = norms(layer.weight, layer.constraint)
        project_norms(layer)
        norm = norms(layer.weight, layer.constraint)
        assert (norm <= drawn.max_norm * (1 + 1e-5)).all()
        if drawn.min_norm is not None:
            # A norm n becomes min * n / (n + 1e-9): below 1e-4 the 1e-9 counts.
            assert ((norm >= drawn.min_norm * (1 - 1e-5)) | (before < 1e-4)).all()


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_evaluation_and_loading_change_nothing(bounds, rate):
    for layer, x in make_layers(bounds, rate):
        grow_(layer)
        saved = copy.deepcopy(layer.state_dict())
        layer.eval()
        layer(x)
        fresh = copy.deepcopy(layer)
        nn.init.zeros_(fresh.weight)
        fresh.load_state_dict(saved)
        fresh(x)
        for state in (layer.state_dict(), fresh.state_dict()):
            assert all(torch.equal(state[name], saved[name]) for name in saved)


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_forward_in_training_restores_the_bounds(bounds):
    for layer, x in make_layers(bounds):
        for spoil in (
            grow_,
            lambda layer: layer.weight.data.mul_(10),
            lambda layer: setattr(layer, "weight", nn.Parameter(layer.weight * 10)),
            lambda layer: layer.load_state_dict({**layer.state_dict(), "weight": layer.weight * 9}),
        ):
            spoil(layer)
            assert layer.constraint.is_broken_by(layer.weight)
            layer(x)
            assert not layer.constraint.is_broken_by(layer.weight)


def test_a_stricter_constraint_is_noticed():
    layer = ConstrainedLinear(4, 3, max_norm=2.0)
    layer(torch.randn(2, 4))
    layer.constraint = NormConstraint(0.1)
    layer(torch.randn(2, 4))
    assert (norms(layer.weight, layer.constraint) <= 0.1 * (1 + 1e-5)).all()


def test_forward_leaves_a_slow_rate_to_the_steps():
    layer = ConstrainedLinear(4, 3, max_norm=0.2, min_norm=0.1, minmax_rate=0.5)
    grow_(layer)
    before = layer.weight.detach().clone()
    layer(torch.randn(2, 4))
    assert torch.equal(layer.weight, before)
    layer.scale_norm()
    np.testing.assert_allclose(
        layer.weight.detach(), reference(before, layer.constraint), rtol=1e-5
    )


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_two_forwards_share_one_backward(bounds):
    for layer, x in make_layers(bounds):
        with torch.no_grad():
            layer.weight[0] = 0.0  # no projection lifts it, so none may be tried
            layer.constraint.project_(layer.weight)
        first = layer.eval()(x)
        second = layer.train()(x)
        (first + second).sum().backward()  # raises if the weight changed in between
        assert torch.isfinite(layer.weight.grad).all()


def test_frozen_weights_are_left_alone():
    layer = ConstrainedLinear(4, 3, max_norm=0.5).requires_grad_(False)
    grow_(layer)
    before = layer.weight.clone()
    layer(torch.randn(2, 4))
    layer.scale_norm()
    assert torch.equal(layer.weight, before)


def test_tensors_in_place_of_the_parameter_are_left_alone():
    layer = ConstrainedLinear(4, 3, max_norm=0.5)
    weight = 10 * torch.ones(3, 4)
    x = torch.randn(2, 4)
    y = torch.func.functional_call(layer, {"weight": weight, "bias": torch.zeros(3)}, x)
    torch.testing.assert_close(y, x @ weight.T)


def test_shapes_can_be_computed_without_data():
    layer = ConstrainedConv2d(3, 4, 3, device="meta")
    assert layer(torch.empty(2, 3, 8, 10, device="meta")).shape == (2, 4, 8, 10)


def test_compiled_code_is_one_graph():
    layer = ConstrainedLinear(4, 3, max_norm=0.5)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    x = torch.randn(2, 4)
    torch.testing.assert_close(compiled(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_project_norms_reaches_nested_layers_and_asks_each_once():
    shared = ConstrainedLinear(4, 4, max_norm=0.2, min_norm=0.1, minmax_rate=0.5)
    separable = SeparableConv2d(2, 3, 3, depth_max_norm=0.5, point_max_norm=0.25)
    model = nn.Sequential(nn.Sequential(shared, nn.ReLU(), shared), separable)
    for layer in (shared, separable.depthwise, separable.pointwise):
        grow_(layer)
    before = shared.weight.detach().clone()
    project_norms(model)
    np.testing.assert_allclose(
        shared.weight.detach(), reference(before, shared.constraint), rtol=1e-5
    )
    assert not separable.depthwise.constraint.is_broken_by(separable.depthwise.weight)
    assert not separable.pointwise.constraint.is_broken_by(separable.pointwise.weight)


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_pickle_and_copy_are_exact_and_stay_constrained(bounds):
    for layer, x in make_layers(bounds):
        y = layer(x)
        for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert torch.equal(twin.weight, layer.weight)
            torch.testing.assert_close(twin(x), y)
            grow_(twin)
            twin(x)
            assert not twin.constraint.is_broken_by(twin.weight)


def test_repr_shows_the_constraint():
    assert "max_norm=0.5" in repr(ConstrainedLinear(4, 3, max_norm=0.5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_gpu_projects_as_the_cpu_does(bounds):
    for layer, x in make_layers(bounds):
        grow_(layer)
        twin = copy.deepcopy(layer).cuda()
        layer.scale_norm()
        twin.scale_norm()
        torch.testing.assert_close(twin.weight.cpu(), layer.weight)
        version = twin.weight._version
        twin(x.cuda())
        assert twin.weight._version == version
        grow_(twin)
        twin(x.cuda())
        assert not twin.constraint.is_broken_by(twin.weight)
