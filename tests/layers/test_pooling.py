import torch

from skaudio.layers import AttentionPooling, FramePooling, StatisticsPooling, frame_mask


def test_attention_by_definition_and_padding_changes_nothing():
    layer = AttentionPooling(5, n_hidden=3, scale=0.7).eval()
    x, lengths = torch.randn(3, 5, 4, 9), torch.tensor([9, 4, 1])
    together = layer(x, frame_mask(lengths, 9))
    for clip, vector, n in zip(x, together, lengths, strict=True):
        positions = clip[..., :n].flatten(1).T
        score = 0.7 * torch.tanh(layer.hidden(positions)) @ layer.score.weight[0]
        expected = torch.softmax(score, 0) @ positions
        torch.testing.assert_close(vector.float(), expected)


def test_frames_by_definition_and_padding_changes_nothing():
    layer = FramePooling(5).eval()
    x, lengths = torch.randn(3, 9, 5), torch.tensor([9, 4, 1])
    together = layer(x, frame_mask(lengths, 9))
    for clip, vector, n in zip(x, together, lengths, strict=True):
        weight = torch.softmax(clip[:n] @ layer.score.weight[0], 0)
        torch.testing.assert_close(vector.float(), weight @ clip[:n])
        torch.testing.assert_close(vector, layer(clip[None, :n])[0])


def test_float64_in_evaluation_only():
    inputs = {
        AttentionPooling(5): torch.randn(2, 5, 4, 9),
        StatisticsPooling(5): torch.randn(2, 5, 4, 9),
        FramePooling(5): torch.randn(2, 9, 5),
    }
    for layer, x in inputs.items():
        assert layer(x).dtype == torch.float32
        assert layer.eval()(x).dtype == torch.float64


def test_equal_weights_give_mean_and_deviation():
    pooling = StatisticsPooling(5).double()
    torch.nn.init.zeros_(pooling.score.weight)
    x = torch.randn(4, 5, 3, 20, dtype=torch.float64)
    values = x.flatten(2)
    expected = torch.cat([values.mean(2), values.std(2, correction=0)], dim=1)
    torch.testing.assert_close(pooling(x), expected, atol=1e-4, rtol=0)


def test_means_are_those_of_attention():
    statistics, attention = StatisticsPooling(5), AttentionPooling(5)
    attention.load_state_dict(statistics.state_dict())
    x = torch.randn(4, 5, 3, 20)
    torch.testing.assert_close(statistics(x)[:, :5], attention(x))


def test_deviations_are_weighted():
    pooling = StatisticsPooling(2, scale=5.0).double()
    x = torch.randn(3, 2, 1, 12, dtype=torch.float64)
    positions = x[:, :, 0].transpose(1, 2)
    weight = (5 * pooling.score(pooling.hidden(positions).tanh())).softmax(1)
    mean = (weight * positions).sum(1)
    variance = (weight * (positions - mean[:, None]) ** 2).sum(1)
    torch.testing.assert_close(pooling(x)[:, 2:], (variance + 1e-5).sqrt())


def test_a_gain_scales_deviations_and_an_offset_leaves_them():
    pooling = StatisticsPooling(4, eps=1e-9).double()
    torch.nn.init.zeros_(pooling.score.weight)
    x = torch.randn(2, 4, 1, 30, dtype=torch.float64)
    deviation = pooling(x)[:, 4:]
    torch.testing.assert_close(pooling(3 * x + 7)[:, 4:], 3 * deviation, rtol=1e-6, atol=0)


def test_padding_is_not_counted_in_statistics():
    pooling = StatisticsPooling(4).eval()
    x, lengths = torch.randn(5, 4, 2, 9), torch.tensor([9, 1, 2, 5, 8])
    together = pooling(x, frame_mask(lengths, 9))
    for clip, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[clip], pooling(x[clip : clip + 1, ..., :n])[0])


def test_a_single_frame_and_a_constant_have_finite_gradients():
    pooling = StatisticsPooling(4)
    for x in (torch.randn(2, 4, 1, 1), torch.ones(2, 4, 1, 7)):
        x.requires_grad_()
        y = pooling(x)
        torch.testing.assert_close(y[:, 4:], torch.full((2, 4), 1e-5**0.5), atol=1e-3, rtol=0)
        y.sum().backward()
        assert x.grad.isfinite().all()
