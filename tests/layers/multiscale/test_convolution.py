import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skaudio.layers import MultiscaleConv2d

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "mts.npz")
CASES = sorted({key.split("/")[0] for key in GOLDEN})
FACTORS = [(0.5, 1.0), (0.7, 1.3), (2.0, 1.0)]


class KernelPerBranch(nn.Module):
    """The published layer, spelt out: a kernel for each branch, averaged after each step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = [layer]  # in a list, so that its parameters are not ours
        self.size = layer.kernel_size
        self.factors = [(1.0, 1.0), *layer.scale_factors]
        base = layer.weight.detach()
        self.kernels = nn.ParameterList([stretch(base, factors) for factors in self.factors])
        self.bias = nn.Parameter(layer.bias.detach().clone())

    def maps(self, x):
        layer = self.layer[0]
        options = (layer.stride, layer.padding, layer.dilation, layer.groups)
        maps = [F.conv2d(x, kernel, self.bias, *options) for kernel in self.kernels]
        maps = [
            F.interpolate(m, maps[0].shape[2:], mode="bilinear", align_corners=False) for m in maps
        ]
        time = [factors[layer.time_axis] for factors in self.factors]
        penalty = [1 - abs(math.log(s)) * layer.stretch_penalty_lambda for s in time]
        return torch.stack([m * p for m, p in zip(maps, penalty, strict=True)])

    def forward(self, x):
        maps = self.maps(x)
        if self.layer[0].output_type == "concat_fmaps":
            return torch.cat(list(maps), self.layer[0].time_axis)
        return maps.amax(0)

    @torch.no_grad()
    def average(self):
        back = [
            F.interpolate(kernel, self.size, mode="bilinear", align_corners=False)
            for kernel in self.kernels
        ]
        base = torch.stack(back).mean(0)
        for kernel, factors in zip(self.kernels, self.factors, strict=True):
            kernel.copy_(stretch(base, factors))


def stretch(kernel, factors):
    if factors == (1.0, 1.0):
        return kernel.clone()
    return F.interpolate(kernel, scale_factor=factors, mode="bilinear", align_corners=False)


def make(dtype=torch.float64, scale_factors=FACTORS, **options):
    torch.manual_seed(0)
    return MultiscaleConv2d(2, 4, (6, 4), dtype=dtype, scale_factors=scale_factors, **options)


def noise(*shape, seed=1, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Laws


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": (1, 2)},
        {"dilation": 2, "padding": 3},
        {"groups": 2, "bias": False},
        {"padding": "same", "dilation": (1, 2)},
        {"padding": "valid"},
        {"padding": 2, "padding_mode": "reflect"},
        {"padding": "same", "padding_mode": "circular"},
        {"padding": (1, 0), "padding_mode": "replicate", "dtype": torch.float64},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # of nn.Conv2d
@pytest.mark.parametrize("output_type", ["pooled_map", "concat_fmaps", "interleave_chdim"])
def test_without_factors_it_is_a_plain_convolution(options, output_type):
    plain = nn.Conv2d(4, 6, (4, 3), **options)
    layer = MultiscaleConv2d(4, 6, (4, 3), output_type=output_type, **options)
    layer.load_state_dict(plain.state_dict())
    x = noise(2, 4, 11, 9, dtype=plain.weight.dtype)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-6)
    before = layer.weight.clone()
    layer.update_kernels()
    assert torch.equal(layer.weight, before)


def test_parameters_and_state_are_those_of_a_plain_convolution():
    layer, plain = make(torch.float32), nn.Conv2d(2, 4, (6, 4))
    plain.load_state_dict(layer.state_dict())
    layer.load_state_dict(plain.state_dict())
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert list(layer.buffers()) == []


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 3}, {"padding": "same"}], ids=str)
@pytest.mark.parametrize("output_type", ["pooled_map", "concat_fmaps", "interleave_chdim"])
def test_a_batch_equals_its_clips(options, output_type):
    layer = make(output_type=output_type, **options)
    x = noise(3, 2, 14, 10)
    singly = torch.stack([layer(clip) for clip in x])
    torch.testing.assert_close(layer(x), singly)


def test_one_more_branch_never_lowers_the_pooled_map():
    few, many = make(scale_factors=FACTORS[:1]), make()
    x = noise(2, 2, 14, 10)
    assert (many(x) >= few(x)).all()


def test_same_padding_keeps_the_size():
    layer = make(padding="same", scale_factors=[(0.5, 1.0), (1.428, 0.3), (3.0, 2.0)])
    assert layer(noise(1, 2, 5, 3)).shape == (1, 4, 5, 3)


@pytest.mark.parametrize("output_type", ["pooled_map", "concat_fmaps", "interleave_chdim"])
@pytest.mark.parametrize("stride", [(1, 2), (3, 2), 2])
def test_same_padding_with_a_stride_leaves_cells_out(stride, output_type):
    options = {"padding": "same", "scale_factors": FACTORS, "time_axis": -2}
    dense = make(output_type=output_type, **options)
    strided = make(output_type=output_type, stride=stride, **options)
    strided.load_state_dict(dense.state_dict())
    x = noise(2, 2, 13, 10)
    rows, columns = strided.stride
    maps = dense(x)
    if output_type == "concat_fmaps":
        parts = maps.split(13, dim=2)
        expected = torch.cat([part[:, :, ::rows, ::columns] for part in parts], dim=2)
    else:
        expected = maps[:, :, ::rows, ::columns]
    assert expected.shape[3] == -(-10 // columns)
    torch.testing.assert_close(strided(x), expected)


def test_a_kernel_never_shrinks_below_one_entry():
    layer = make(scale_factors=[(0.01, 0.01)])
    assert layer(noise(1, 2, 8, 8)).shape == (1, 4, 3, 5)


def test_both_passes_are_bit_identical_between_runs():
    def run():
        layer = make(torch.float32)
        x = noise(4, 2, 40, 20, dtype=torch.float32).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        return y, x.grad, layer.weight.grad

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


# The slow plain reference


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": (3, 1)},
        {"dilation": (2, 1), "padding": 2, "groups": 2},
        {"stretch_penalty_lambda": 0.4, "time_axis": -2},
        {"stretch_penalty_lambda": 0.4, "time_axis": -1},
        {"output_type": "concat_fmaps", "stretch_penalty_lambda": 0.2},
        {"output_type": "concat_fmaps", "time_axis": -1},
    ],
    ids=str,
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_one_parameter_learns_as_a_kernel_per_branch_does(options, momentum):
    layer = make(**options)
    reference = KernelPerBranch(layer)
    ours = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=momentum)
    theirs = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=momentum)
    for step in range(5):
        x = noise(2, 2, 24, 12, seed=step)
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        outputs = layer(inputs[0]), reference(inputs[1])
        torch.testing.assert_close(*outputs)
        for optimizer, y in zip((ours, theirs), outputs, strict=True):
            optimizer.zero_grad()
            y.square().mean().backward()
            optimizer.step()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
        layer.update_kernels()
        reference.average()
    torch.testing.assert_close(layer.weight, reference.kernels[0])
    torch.testing.assert_close(layer.bias, reference.bias)


@pytest.mark.parametrize("factors", [(0.5, 1.0), (0.7, 1.428), (1.9, 0.3), (2.0, 3.3)])
def test_kernels_are_those_of_interpolate(factors):
    # A lone 1 in the middle of the input prints each branch's kernel, flipped, into its map.
    kernel = noise(1, 1, 7, 5)
    wide = 2 * 24 + 1
    layer = MultiscaleConv2d(
        1, 1, (7, 5), bias=False, dtype=torch.float64, scale_factors=[factors],
        output_type="concat_fmaps", padding="same", time_axis=-1,
    )  # fmt: skip
    layer.load_state_dict({"weight": kernel})
    x = torch.zeros(1, 1, wide, wide, dtype=torch.float64)
    x[..., wide // 2, wide // 2] = 1.0
    branch = layer(x)[0, 0, :, wide:]
    rows, columns = branch.any(1), branch.any(0)
    found = branch[rows][:, columns].flip(0, 1)
    torch.testing.assert_close(found, stretch(kernel, factors)[0, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("output_type", ["pooled_map", "concat_fmaps"])
@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"padding": 3, "stride": 2}], ids=str)
def test_tied_gradients_are_exact(output_type, options):
    layer = make(kernel_update="tied", output_type=output_type, **options)
    x = noise(1, 2, 13, 9).requires_grad_()

    def run(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@pytest.mark.parametrize("mode", ["train_and_eval", "only_gradients"])
def test_a_second_derivative_is_refused(mode):
    layer = MultiscaleConv2d(1, 2, 3, scale_factors=FACTORS, training_mode=mode)
    y = layer(torch.randn(2, 1, 9, 8))
    with pytest.raises(NotImplementedError, match=r"MultiscaleConv2d.*differentiated once only"):
        torch.autograd.grad(y.sum(), list(layer.parameters()), create_graph=True)


def test_tied_kernels_have_nothing_to_average():
    layer = make(kernel_update="tied")
    before = layer.weight.clone()
    layer(noise(1, 2, 14, 10), True).sum().backward()
    layer.update_kernels()
    assert torch.equal(layer.weight, before)


def test_tied_gradient_is_the_sum_over_branches():
    layer = make(kernel_update="tied", output_type="concat_fmaps")
    x = noise(1, 2, 14, 10)
    layer(x).square().sum().backward()
    weight = layer.weight.detach().clone().requires_grad_()
    maps = [F.conv2d(x, stretch(weight, f), layer.bias) for f in [(1.0, 1.0), *FACTORS]]
    resized = [F.interpolate(m, maps[0].shape[2:], mode="bilinear") for m in maps]
    sum(m.square().sum() for m in resized).backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


# Output types and training modes


@pytest.mark.parametrize("time_axis", [-2, -1])
def test_concatenated_maps_follow_one_another_in_time(time_axis):
    layer = make(output_type="concat_fmaps", time_axis=time_axis)
    x = noise(2, 2, 14, 10)
    maps = KernelPerBranch(layer).maps(x)
    parts = layer(x).split(maps.shape[time_axis], time_axis)
    torch.testing.assert_close(torch.stack(parts), maps)


@pytest.mark.parametrize(("time_axis", "factors"), [(-2, (0.5, 0.7, 2.0)), (-1, (1.0, 1.3, 1.0))])
def test_interleaved_channels_tell_which_tempo_won(time_axis, factors):
    layer = make(output_type="interleave_chdim", time_axis=time_axis)
    x = noise(2, 2, 14, 10)
    y = layer(x)
    maps = KernelPerBranch(layer).maps(x)
    tempo = torch.tensor([1.0, *factors], dtype=torch.float64).log()[maps.argmax(0)]
    torch.testing.assert_close(y[:, 0::2], maps.amax(0))
    torch.testing.assert_close(y[:, 1::2], tempo)


@pytest.mark.parametrize("factors", [[0.5, 0.7], [2.0, 0.5], [0.7, 3.0, 1.5]], ids=str)
def test_a_tie_goes_to_the_largest_factor(factors):
    pairs = [(factor, 1.0) for factor in factors]
    layer = make(output_type="interleave_chdim", scale_factors=pairs, bias=False)
    y = layer(torch.zeros(1, 2, 20, 8, dtype=torch.float64))
    expected = math.log(max(1.0, *factors))
    assert torch.allclose(y[:, 1::2], torch.full_like(y[:, 1::2], expected))
    np.testing.assert_array_equal(layer.get_stretch_percs(), np.ones(1 + len(factors)))


@pytest.mark.parametrize(
    ("mode", "stretched_in"),
    [
        ("train_and_eval", {True, False}),
        ("only_eval", {False}),
        ("only_train", {True}),
        ("only_gradients", set()),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_training_mode_says_when_branches_take_part(mode, stretched_in, given):
    layer = make(training_mode=mode)
    x = noise(2, 2, 14, 10)
    for state in (True, False):
        expected = (
            KernelPerBranch(layer)(x)
            if state in stretched_in
            else F.conv2d(x, layer.weight, layer.bias)
        )
        found = layer(x, state) if given else layer.train(state)(x)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["only_eval", "only_train", "only_gradients"])
def test_interleaved_base_map_has_the_channels_of_all_branches(mode):
    layer = make(training_mode=mode, output_type="interleave_chdim")
    x = noise(2, 2, 14, 10)
    y = layer(x, training_state=mode == "only_eval")
    torch.testing.assert_close(y[:, 0::2], F.conv2d(x, layer.weight, layer.bias))
    assert not y[:, 1::2].any()


@pytest.mark.parametrize("kernel_update", ["averaged", "tied"])
@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"padding": 3, "stride": 2}], ids=str)
def test_only_gradients_learns_from_every_branch(kernel_update, options):
    layer = make(training_mode="only_gradients", kernel_update=kernel_update, **options)
    x = noise(2, 2, 14, 10).requires_grad_()
    y = layer(x, True)
    grad = noise(*y.shape, seed=2)
    y.backward(grad)

    base, detached = layer.weight.detach(), x.detach()
    total = torch.zeros_like(base)
    for factors in [(1.0, 1.0), *FACTORS]:
        kernel = stretch(base, factors).requires_grad_()
        inner = MultiscaleConv2d(2, 4, kernel.shape[2:], dtype=torch.float64, **options)
        fmap = torch.func.functional_call(inner, {"weight": kernel}, (detached,))
        resized = F.interpolate(fmap, y.shape[2:], mode="bilinear")
        (branch,) = torch.autograd.grad(resized, kernel, grad)
        if kernel_update == "averaged":
            total += F.interpolate(branch, layer.kernel_size, mode="bilinear") / 4
        else:
            start = base.clone().requires_grad_()
            total += torch.autograd.grad(stretch(start, factors), start, branch)[0]
    torch.testing.assert_close(layer.weight.grad, total)

    plain = MultiscaleConv2d(2, 4, (6, 4), dtype=torch.float64, **options)
    plain.load_state_dict(layer.state_dict())
    again = detached.clone().requires_grad_()
    plain(again).backward(grad)
    torch.testing.assert_close(x.grad, again.grad)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad)


# Averaging and what the layer remembers


def test_a_second_update_does_nothing():
    layer = make()
    layer(noise(1, 2, 14, 10), True)
    layer.update_kernels()
    once = layer.weight.clone()
    layer.update_kernels()
    assert torch.equal(layer.weight, once)


@pytest.mark.parametrize(
    ("mode", "state"), [("only_eval", True), ("only_eval", False), ("train_and_eval", False)]
)
def test_no_update_where_no_branch_was_trained(mode, state):
    layer = make(training_mode=mode)
    before = layer.weight.clone()
    layer(noise(1, 2, 14, 10), state)
    layer.update_kernels()
    assert torch.equal(layer.weight, before)


def test_loading_weights_keeps_them():
    layer = make()
    layer(noise(1, 2, 14, 10), True)
    state = {key: value + 1 for key, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    layer.update_kernels()
    assert torch.equal(layer.weight, state["weight"])


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_work_and_leave_the_last_input_out(clone):
    layer = make()
    x = noise(1, 2, 400, 100)
    y = layer(x)
    twin = clone(layer)
    assert torch.equal(twin(x), y)
    assert len(pickle.dumps(layer)) < x.nbytes / 10


def test_stretch_shares_are_those_of_the_last_forward():
    layer = make()
    x = noise(2, 2, 24, 12)
    maps = KernelPerBranch(layer).maps(x)
    layer(x)
    with torch.no_grad():
        layer.weight.zero_()  # what an optimizer step does to the weights comes too late
    shares = layer.get_stretch_percs()
    expected = (maps == maps.amax(0)).flatten(1).double().mean(1)
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    layer.training_mode = "only_eval"
    layer(x, True)
    np.testing.assert_array_equal(layer.get_stretch_percs(), [1, 0, 0, 0])


def test_stretch_shares_before_any_forward():
    with pytest.raises(RuntimeError, match="nothing has gone through this layer yet"):
        make().get_stretch_percs()


def test_the_published_training_loop():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = MultiscaleConv2d(
                1, 3, kernel_size=(10, 5), scale_factors=[(0.7, 1.0), (1.428, 1.0)],
                stretch_penality_lambda=0.1, output_type="pooled_map",
            )  # fmt: skip
            self.out = nn.Linear(3, 2)

        def forward(self, x, training_state):
            return self.out(torch.relu(self.conv(x, training_state)).mean((2, 3)))

    torch.manual_seed(0)
    model, x, y = Net(), torch.randn(8, 1, 20, 12), torch.arange(8) % 2
    x[y == 1, :, ::2] += 2.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, True), y)
        loss.backward()
        optimizer.step()
        for layer in model.modules():
            if isinstance(layer, MultiscaleConv2d):
                layer.update_kernels()
                shares = layer.get_stretch_percs()
        losses.append(loss.item())
    assert model.conv.stretch_penalty_lambda == 0.1
    assert losses[-1] < 0.3 * losses[0]
    assert shares.shape == (3,)
    assert shares.sum() == pytest.approx(1.0, abs=1e-5)


# Exporting


@pytest.mark.parametrize("kernel_update", ["averaged", "tied"])
@pytest.mark.parametrize("output_type", ["pooled_map", "concat_fmaps", "interleave_chdim"])
def test_an_exported_layer_takes_batches_of_any_size(output_type, kernel_update):
    layer = make(output_type=output_type, kernel_update=kernel_update, padding="same").eval()
    batch = torch.export.Dim("batch", max=64)
    exported = torch.export.export(layer, (noise(2, 2, 14, 10),), dynamic_shapes=({0: batch},))
    for n_clips in (1, 2, 7):
        x = noise(n_clips, 2, 14, 10, seed=n_clips)
        torch.testing.assert_close(exported.module()(x), layer(x))


def test_an_exported_layer_has_the_gradient_of_tied_kernels():
    layer = make(kernel_update="tied")
    x = noise(3, 2, 14, 10)
    exported = torch.export.export(layer, (x,)).module()
    grads = []
    for module in (exported, layer):
        layer.zero_grad()
        module(x).square().sum().backward()
        grads.append({name: w.grad.clone() for name, w in module.named_parameters()})
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("training", [False, True])
def test_exporting_leaves_the_layer_as_it_was(training):
    layer = make().train(training)
    x = noise(2, 2, 24, 12)
    layer(x)
    before = layer.get_stretch_percs()
    torch.export.export(layer, (noise(1, 2, 14, 10),))
    np.testing.assert_array_equal(layer.get_stretch_percs(), before)
    layer.update_kernels()
    assert type(layer.weight) is nn.Parameter
    torch.testing.assert_close(layer(x), KernelPerBranch(layer)(x))


# Precision and devices


@pytest.mark.parametrize("mode", ["train_and_eval", "only_gradients"])
def test_autocast_stays_near_full_precision(mode):
    layer = make(torch.float32, training_mode=mode)
    x = noise(2, 2, 24, 12, dtype=torch.float32)
    expected = layer(x)
    expected.square().mean().backward()
    grad, layer.weight.grad = layer.weight.grad, None
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        loss = y.float().square().mean()
    loss.backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    torch.testing.assert_close(
        layer.weight.grad, grad, rtol=0.1, atol=0.05 * grad.abs().max().item()
    )


def test_inference_mode_leaves_training_possible():
    layer = make(scale_factors=[(0.61, 1.0)])  # a factor that no other test has resampled with
    x = noise(1, 2, 14, 10)
    with torch.inference_mode():
        expected = layer(x, False).clone()
    y = layer(x, True)
    y.sum().backward()
    torch.testing.assert_close(y, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["train_and_eval", "only_gradients"])
def test_gpu_agrees_with_cpu(mode):
    results = []
    for device in ("cpu", "cuda"):
        layer = make(training_mode=mode).to(device)
        x = noise(2, 2, 24, 12).to(device)
        layer(x, True).square().mean().backward()
        layer.update_kernels()
        results.append([layer.weight.cpu(), layer.weight.grad.cpu(), layer(x).cpu()])
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(cpu, gpu)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_factors": [0.7]}, r"scale_factors: got \[0.7\], but expected pairs of positive"),
        ({"scale_factors": [(0.7, 0.0)]}, r"scale_factors: got \[\(0.7, 0.0\)\]"),
        ({"scale_factors": [(math.inf, 1)]}, "scale_factors: got .*inf"),
        ({"scale_factors": 0.7}, "scale_factors: got 0.7, but expected pairs"),
        ({"output_type": "max"}, "output_type: got 'max', but expected one of 'pooled_map'"),
        ({"training_mode": "never"}, "training_mode: got 'never', but expected one of"),
        ({"kernel_update": "mean"}, "kernel_update: got 'mean', but expected one of 'averaged'"),
        ({"time_axis": 0}, "time_axis: got 0, but expected one of -2, -1"),
        ({"stretch_penalty_lambda": -1.0}, "stretch_penalty_lambda: got -1.0, but expected a"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MultiscaleConv2d(1, 1, 3, **options)


def test_an_input_smaller_than_a_stretched_kernel():
    with pytest.raises(ValueError, match=r"spatial size \(8, 8\).*reaches over \(12, 4\)"):
        make()(noise(1, 2, 8, 8))


# Golden numbers


@pytest.mark.parametrize("case", CASES)
def test_golden_outputs(case):
    layer, x = golden_layer(case)
    for state, name in ((True, "y_training"), (False, "y_eval")):
        np.testing.assert_allclose(layer(x, state).detach(), GOLDEN[f"{case}/{name}"], **CLOSE)
        if layer.training_mode == "train_and_eval":
            np.testing.assert_allclose(
                layer.get_stretch_percs(), GOLDEN[f"{case}/stretch_percs"], **CLOSE
            )


@pytest.mark.parametrize("case", [case for case in CASES if f"{case}/loss" in GOLDEN])
def test_golden_training(case):
    layer, x = golden_layer(case)
    optimizer = torch.optim.SGD(layer.parameters(), lr=float(GOLDEN[f"{case}/sgd_lr"]))
    after = {1: "after_step_and_average", 4: "after_4_steps"}
    for step in range(1, 5):
        optimizer.zero_grad()
        loss = layer(x, True).square().mean()
        loss.backward()
        optimizer.step()
        layer.update_kernels()
        if step == 1:
            np.testing.assert_allclose(loss.item(), GOLDEN[f"{case}/loss"], **CLOSE)
        for name, value in layer.named_parameters():
            if step in after:
                expected = GOLDEN[f"{case}/{name}_{after[step]}"]
                np.testing.assert_allclose(value.detach(), expected, **CLOSE)


CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def golden_layer(case):
    config = json.loads(str(GOLDEN[f"{case}/config"]))
    layer = MultiscaleConv2d(**config)
    state = {name: torch.from_numpy(GOLDEN[f"{case}/{name}"]) for name in ("weight", "bias")}
    layer.load_state_dict(state)
    return layer, torch.from_numpy(GOLDEN[f"{case}/x"])
