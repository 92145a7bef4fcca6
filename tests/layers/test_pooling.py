import torch

from skaudio.layers import AttentionPooling, FramePooling, frame_mask


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
    inputs = {AttentionPooling(5): torch.randn(2, 5, 4, 9), FramePooling(5): torch.randn(2, 9, 5)}
    for layer, x in inputs.items():
        assert layer(x).dtype == torch.float32
        assert layer.eval()(x).dtype == torch.float64
