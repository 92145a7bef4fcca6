import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy

from skaudio.losses import ConcordanceLoss, FocalLoss, OrdinalLoss, size_rule
from skaudio.metrics import concordance_correlation

PER_CLIP = [
    FocalLoss(),
    FocalLoss(gamma=0.5),
    FocalLoss(alpha=(0.2, 0.3, 0.5)),
    OrdinalLoss(),
    OrdinalLoss(order=(2, 0, 1)),
]
HALF = [torch.float16, torch.bfloat16]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "data" / "losses.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def tiny_batch(generator, n_classes=3, dtype=torch.float64):
    logits = torch.randn(8, n_classes, generator=generator, dtype=dtype) * 3
    return logits, torch.randint(n_classes, (8,), generator=generator)


@pytest.mark.parametrize("loss", PER_CLIP, ids=repr)
class TestPerClip:
    def test_one_loss_for_each_clip(self, loss, generator):
        logits, target = tiny_batch(generator)
        together = loss(logits, target)
        assert together.shape == (8,)
        alone = [loss(logits[i : i + 1], target[i : i + 1]).item() for i in range(8)]
        torch.testing.assert_close(together, torch.tensor(alone, dtype=torch.float64))

    def test_gradient(self, loss, generator):
        logits, target = tiny_batch(generator)
        assert gradcheck(lambda x: loss(x, target), logits.requires_grad_())

    def test_adding_a_constant_to_all_logits_changes_nothing(self, loss, generator):
        logits, target = tiny_batch(generator)
        torch.testing.assert_close(loss(logits + 100, target), loss(logits, target))

    @pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
    def test_huge_logits_stay_finite(self, loss, size):
        logits = (size * torch.eye(3).repeat(3, 1)).requires_grad_()
        target = torch.arange(3).repeat_interleave(3)
        values = loss(logits, target)
        values.sum().backward()
        assert values.isfinite().all()
        assert logits.grad.isfinite().all()
        assert (values >= 0).all()

    @pytest.mark.parametrize("dtype", HALF, ids=str)
    def test_half_precision_is_widened(self, loss, dtype, generator):
        logits, target = tiny_batch(generator)
        half = logits.to(dtype)
        assert loss(half, target).dtype == torch.float32
        torch.testing.assert_close(loss(half, target), loss(half.float(), target))

    def test_has_no_state(self, loss):
        assert not loss.state_dict()


def test_focal_is_its_formula(generator):
    logits, target = tiny_batch(generator)
    p = torch.softmax(logits, 1)[torch.arange(8), target]
    torch.testing.assert_close(FocalLoss()(logits, target), -0.25 * (1 - p) ** 2 * p.log())
    torch.testing.assert_close(FocalLoss(3, 1.0)(logits, target), -((1 - p) ** 3) * p.log())


def test_focal_without_focus_is_cross_entropy(generator):
    logits, target = tiny_batch(generator)
    expected = cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(FocalLoss(gamma=0, alpha=1)(logits, target), expected)


def test_focal_is_precise_where_a_clip_is_nearly_right():
    logits = torch.tensor([[0.0, 14.0]])
    miss = 1 / (1 + math.exp(14))
    loss = FocalLoss(alpha=1)(logits, torch.tensor([1])).item()
    assert loss == pytest.approx(-(miss**2) * math.log1p(-miss), rel=0.1)
    assert loss > 0


def test_focal_of_two_logits_is_that_of_one_sigmoid(generator):
    logits, target = tiny_batch(generator, n_classes=2)
    p = torch.sigmoid(logits[:, 1] - logits[:, 0])
    positive = -0.25 * (1 - p) ** 2 * p.log()
    negative = -0.75 * p**2 * (1 - p).log()
    expected = torch.where(target == 1, positive, negative)
    torch.testing.assert_close(FocalLoss(alpha=(0.75, 0.25))(logits, target), expected)


def test_ordinal_is_its_formula(generator):
    logits, target = tiny_batch(generator, n_classes=4)
    expected = []
    for row, y in zip(logits, target.tolist(), strict=True):
        q = np.exp([-abs(i - y) for i in range(4)])
        expected.append(-(q / q.sum() @ torch.log_softmax(row, 0).numpy()))
    torch.testing.assert_close(
        OrdinalLoss()(logits, target), torch.tensor(expected, dtype=torch.float64)
    )


def test_ordinal_mistakes_cost_by_their_distance():
    sure = 5 * torch.eye(5)
    losses = OrdinalLoss()(sure, torch.zeros(5, dtype=torch.long))
    assert (losses.diff() > 0).all()


def test_ordinal_with_an_order_is_its_formula(generator):
    order = (2, 0, 3, 1)
    logits, target = tiny_batch(generator, n_classes=4)
    expected = []
    for row, y in zip(logits, target.tolist(), strict=True):
        q = np.exp([-abs(order[i] - order[y]) for i in range(4)])
        expected.append(-(q / q.sum() @ torch.log_softmax(row, 0).numpy()))
    torch.testing.assert_close(
        OrdinalLoss(order)(logits, target), torch.tensor(expected, dtype=torch.float64)
    )


def test_ordinal_with_an_order_is_that_of_sorted_columns(generator):
    order = torch.tensor([2, 0, 1])
    logits, target = tiny_batch(generator)
    in_order = OrdinalLoss()(logits[:, order.argsort()], order[target])
    torch.testing.assert_close(OrdinalLoss(order.tolist())(logits, target), in_order)
    torch.testing.assert_close(
        OrdinalLoss((0, 1, 2))(logits, target), OrdinalLoss()(logits, target)
    )


def test_ordinal_with_classes_sorted_by_the_alphabet():
    high, low, medium = 5 * torch.eye(3)
    is_low = torch.tensor([1])
    cost = [OrdinalLoss(order=(2, 0, 1))(sure[None], is_low).item() for sure in (low, medium, high)]
    assert cost[0] < cost[1] < cost[2]


@pytest.mark.parametrize("order", [(0, 0, 2), (1, 2, 3), (0, 1.5, 2), [[0, 1]], (0, math.nan)])
def test_ordinal_order_is_a_permutation(order):
    with pytest.raises(ValueError, match=r"order is .*, but expected one rank per class"):
        OrdinalLoss(order)


def test_repr_shows_the_order():
    assert repr(OrdinalLoss()) == "OrdinalLoss()"
    assert repr(OrdinalLoss((1, 0))) == "OrdinalLoss(order=(1, 0))"


def concordance_batch(generator, dtype=torch.float64, n_targets=2):
    target = torch.randn(10, n_targets, generator=generator, dtype=dtype)
    output = 0.5 * target + torch.randn(10, n_targets, generator=generator, dtype=dtype) + 0.3
    return output, target


@pytest.mark.parametrize("weighted", [False, True])
def test_concordance_is_one_minus_the_metric(generator, weighted):
    output, target = concordance_batch(generator)
    weight = torch.rand(10, generator=generator) if weighted else None
    expected = 1 - concordance_correlation(
        target, output, sample_weight=None if weight is None else weight.double()
    )
    loss = ConcordanceLoss()(output, target, weight)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_concordance_gradient(generator):
    output, target = concordance_batch(generator)
    weight = torch.rand(10, generator=generator, dtype=torch.float64)
    assert gradcheck(ConcordanceLoss(), (output.requires_grad_(), target))
    assert gradcheck(ConcordanceLoss(), (output, target, weight))


def test_concordance_integer_weight_is_repetition(generator):
    output, target = concordance_batch(generator)
    times = torch.arange(10) % 3
    repeated = [y.repeat_interleave(times, 0) for y in (output, target)]
    torch.testing.assert_close(
        ConcordanceLoss()(output, target, times), ConcordanceLoss()(*repeated)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_clips", [1, 2, 7])
@pytest.mark.parametrize(("value", "expected"), [(0.1, 0.0), (0.3, 1.0)])
def test_concordance_without_spread(dtype, n_clips, value, expected):
    output = torch.full((n_clips, 2), value, dtype=dtype, requires_grad=True)
    target = torch.full((n_clips, 2), 0.1, dtype=dtype)
    loss = ConcordanceLoss()(output, target)
    loss.backward()
    assert loss.item() == expected
    assert not output.grad.any()


def test_concordance_of_constant_predictions_still_teaches():
    output = torch.zeros(5, 1, requires_grad=True)
    target = torch.arange(5.0)[:, None]
    loss = ConcordanceLoss()(output, target)
    loss.backward()
    assert loss.item() == 1.0
    assert output.grad[0] > 0 > output.grad[4]


def test_concordance_batch_without_weight(generator):
    output, target = concordance_batch(generator, torch.float32)
    loss = ConcordanceLoss()(output.requires_grad_(), target, torch.zeros(10))
    loss.backward()
    assert loss.isfinite()
    assert not output.grad.any()


def test_concordance_far_from_zero_in_single_precision(generator):
    output, target = concordance_batch(generator)
    expected = ConcordanceLoss()(output, target)
    moved = ConcordanceLoss()((output + 4096).float(), (target + 4096).float())
    assert moved.item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_concordance_widens_half_precision(dtype, generator):
    output, target = concordance_batch(generator)
    half = output.to(dtype)
    loss = ConcordanceLoss()(half, target.float())
    torch.testing.assert_close(loss, ConcordanceLoss()(half.float(), target.float()))


def test_concordance_is_learned(generator):
    x = torch.randn(64, 3, generator=generator)
    target = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 4
    weight = torch.zeros(3, 1, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss = ConcordanceLoss()(x @ weight + bias, target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_focal_golden(golden):
    logits = golden["y_proba"].log()
    loss = FocalLoss()(logits, golden["y_true"])
    torch.testing.assert_close(loss, golden["categorical_focal"], rtol=1e-4, atol=1e-5)


def test_binary_focal_golden(golden):
    p = golden["binary_proba"]
    logits = torch.cat([torch.zeros_like(p), torch.logit(p)], dim=1)
    loss = FocalLoss(alpha=(0.75, 0.25))(logits, golden["binary_true"][:, 0].long())
    torch.testing.assert_close(loss.sum(), golden["binary_focal"], rtol=1e-4, atol=1e-5)


def test_ordinal_golden(golden):
    loss = OrdinalLoss()(golden["y_proba"].log(), golden["y_true"])
    torch.testing.assert_close(loss, golden["soft_ordinal"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gamma": -1}, "gamma is -1, but expected a finite number >= 0"),
        ({"gamma": math.nan}, "gamma is nan"),
        ({"gamma": math.inf}, "gamma is inf"),
        ({"alpha": math.inf}, "alpha is inf"),
        ({"alpha": 0}, "alpha is 0, but expected a finite number > 0 or one per class"),
        ({"alpha": (0.5, -0.5)}, "alpha is .*, but expected"),
        ({"alpha": [[0.5]]}, "alpha is .*, but expected"),
    ],
)
def test_focal_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        FocalLoss(**parameters)


def test_wrong_shapes():
    target = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="alpha has 2 factors, but there are 3 classes"):
        FocalLoss(alpha=(0.75, 0.25))(torch.zeros(2, 3), target)
    with pytest.raises(ValueError, match="one class, but expected two"):
        FocalLoss()(torch.zeros(2, 1), target)
    with pytest.raises(ValueError, match="order has 2 ranks, but the logits have 3 classes"):
        OrdinalLoss((1, 0))(torch.zeros(2, 3), target)
    with pytest.raises(ValueError, match=r"output has shape \(2, 1\), but the target has \(2,\)"):
        ConcordanceLoss()(torch.zeros(2, 1), torch.zeros(2))


@pytest.mark.parametrize(
    ("n_clips", "strength"),
    [(1, 5e-3), (499, 5e-3), (500, 2e-3), (999, 2e-3), (1000, 5e-4), (9999, 5e-4), (10_000, 1e-6)],
)
def test_the_published_strength_for_a_number_of_clips(n_clips, strength):
    assert size_rule(n_clips) == strength
