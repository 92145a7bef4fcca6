import pytest
import torch

from skaudio.layers import LinearHead
from skaudio.layers.precision import at_least_float32, double_in_evaluation, widest_float


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_becomes_single(given, expected):
    assert at_least_float32(given) == expected


@pytest.mark.parametrize(
    ("device", "dtype"),
    [("cpu", torch.float64), ("cuda", torch.float64), ("mps", torch.float32)],
)
def test_only_one_device_lacks_float64(device, dtype):
    assert widest_float(torch.device(device)) == dtype


@pytest.mark.parametrize("training", [False, True])
def test_double_in_evaluation(training):
    x = torch.randn(3)
    assert double_in_evaluation(x, training).dtype == (torch.float32 if training else torch.float64)


@pytest.mark.parametrize("bias", [False, True])
def test_logits_do_not_depend_on_other_rows(bias):
    head, x = LinearHead(193, 7, bias=bias).eval(), torch.randn(33, 193)
    together = head(x)
    alone = torch.cat([head(row[None]) for row in x])
    # Equal when rounded to float32: what is left are some 1e-16.
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-13)
    assert head.train()(x).dtype == torch.float32
    torch.testing.assert_close(head(x), together.float(), rtol=1e-4, atol=1e-5)


def test_autocast_does_not_reach_the_head():
    head, x = LinearHead(16, 3).eval(), torch.randn(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(x), head(x.double()))
