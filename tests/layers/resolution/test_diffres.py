import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skaudio.layers.resolution.diffres import DiffRes
from skaudio.layers.resolution.scoring import normalise_scores
from skaudio.layers.resolution.slot_pooling import pool_slots
from skaudio.layers.resolution.warping import assign_slots, overlap_matrix, slot_sums

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "diffres.npz")
WHOLE = ["half_64", "silence_64", "mild_64"]
MAPS = ["avgpool", "maxpool", "resolution_enc"]
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def golden(case, name):
    return torch.from_numpy(GOLDEN[f"{case}/{name}"])


def log_power(batch, n_frames, n_bands, seed=0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    loudness = torch.randn(batch, n_frames, 1, generator=rng) * 2 - 5
    return (loudness + torch.randn(batch, n_frames, n_bands, generator=rng)).to(dtype)


def layer(n_frames=60, n_bands=20, rate=0.5, seed=0, **options):
    """Make a layer whose norms have seen something, so that scores differ."""
    torch.manual_seed(seed)
    made = DiffRes(n_frames, n_bands, rate, **options)
    for _ in range(5):
        made(log_power(4, n_frames, n_bands) * 2)
    return made.eval()


def dense(ret, rate, n_positions):
    """Everything behind the score by its definition, T x M matrix and all, in numpy."""
    score = ret["score"][..., 0].detach().double().numpy()
    x = ret["x"].double().numpy()
    n_slots = int(ret["lengths"].max())
    end = score.cumsum(1)[..., None]
    start = np.concatenate([np.zeros_like(end[:, :1]), end[:, :-1]], axis=1)
    slot = np.arange(n_slots)
    weight = np.maximum(np.minimum(end, slot + 1) - np.maximum(start, slot), 0)
    power = np.exp(x)
    loudest = (weight[..., None] * power[:, :, None]).max(1)
    return {
        "weight": weight,
        "avgpool": np.log(weight.transpose(0, 2, 1) @ power + 1e-12),
        "maxpool": np.log(loudest / (1 - rate) + 1e-12),
        "resolution_enc": weight.transpose(0, 2, 1) @ n_positions,
    }


@pytest.mark.parametrize("n_bands", [1, 2, 7, 40])
@pytest.mark.parametrize(("n_frames", "rate"), [(1, 0), (2, 0.5), (51, 0.3), (80, 0.75), (97, 0.9)])
def test_output_is_the_dense_definition(n_frames, n_bands, rate):
    model = layer(n_frames, n_bands, rate).double()
    x = log_power(2, n_frames, n_bands, dtype=torch.float64)
    ret = model(x, return_weight=True)
    table = model.positions(n_frames, n_bands).numpy()
    for name, expected in dense(ret, rate, table).items():
        np.testing.assert_allclose(
            ret[name].detach().numpy(), expected, rtol=1e-6, atol=1e-6, err_msg=name
        )
    assert torch.equal(ret["feature"], torch.stack([ret[name] for name in MAPS], dim=1))


@pytest.mark.parametrize(
    ("n_frames", "rate", "kept"), [(10, 0.9, 1), (100, 0.75, 25), (7, 0.5, 3), (1000, 0.999, 1)]
)
def test_frames_kept_lose_none_to_rounding(n_frames, rate, kept):
    # int(10 * (1 - 0.9)) is 0.
    ret = DiffRes(n_frames, 4, rate)(log_power(1, n_frames, 4))
    assert ret["avgpool"].shape == (1, kept, 4)
    assert ret["lengths"].tolist() == [kept]


def test_rate_0_keeps_every_frame():
    x = log_power(2, 33, 6)
    ret = layer(33, 6, 0.0)(x, return_weight=True)
    assert torch.equal(ret["weight"], torch.eye(33).expand(2, -1, -1))
    torch.testing.assert_close(ret["avgpool"], x)
    torch.testing.assert_close(ret["maxpool"], x)


def test_important_frames_keep_a_slot_of_their_own():
    model = DiffRes(40, 1, 0.5)
    # Two frames stand out; the raw score is the sigmoid of the only band.
    model.scorer = nn.Identity()
    model.scorer.forward = lambda x, real=None: x
    x = torch.full((1, 40, 1), -1.0)
    x[0, [10, 25]] = 6.0
    ret = model(x, return_weight=True)
    score = ret["score"][0, :, 0]
    assert score[[10, 25]] == pytest.approx([1.0, 1.0])
    assert score[11:25].max() < 0.55
    assert ret["weight"][0, 10].max() > 0.5


def test_clips_of_unequal_length_stand_for_themselves():
    model = layer(60, 20, 0.6)
    lengths = torch.tensor([60, 17, 3, 44])
    x = log_power(4, 60, 20)
    spoilt = x.clone()
    for clip, length in enumerate(lengths):
        spoilt[clip, length:] = float("nan")
    ret = model(spoilt, lengths)
    assert ret["lengths"].tolist() == [24, 6, 1, 17]
    for clip, length in enumerate(lengths.tolist()):
        alone = model(x[clip : clip + 1, :length])
        kept = int(ret["lengths"][clip])
        torch.testing.assert_close(ret["score"][clip, :length], alone["score"][0])
        for name in MAPS:
            torch.testing.assert_close(
                ret[name][clip, :kept], alone[name][0], rtol=1e-4, atol=1e-5, msg=name
            )
        assert torch.equal(ret["score_mask"][clip, :length], alone["score_mask"][0])
        assert not ret["score"][clip, length:].any()
        assert not ret["resolution_enc"][clip, kept:].any()


def test_clips_of_one_length_stand_for_themselves():
    # In float64: a convolution may round otherwise for one clip than for three, and where a slot
    # holds little of a loud frame its logarithm amplifies that. Here 1e-7 has to hold.
    model = layer().double()
    x = log_power(3, 60, 20, seed=1).double()
    together = model(x)
    for clip in range(3):
        alone = model(x[clip : clip + 1])
        torch.testing.assert_close(together["feature"][clip], alone["feature"][0])


def test_guide_loss_is_a_mean_over_clips_of_unequal_length():
    model = layer(60, 20, 0.6)
    x, lengths = log_power(3, 60, 20), [60, 21, 34]
    ret = model(x, torch.tensor(lengths))
    alone = [model(x[i : i + 1, :length]) for i, length in enumerate(lengths)]
    for name in ("guide_loss", "guide_loss_total", "activeness"):
        expected = torch.stack([one[name] for one in alone]).mean()
        torch.testing.assert_close(ret[name], expected)


@pytest.mark.parametrize("learned", [False, True])
def test_longer_clips_than_the_table(learned):
    model = layer(50, 10, 0.5, learn_pos_emb=learned)
    reference = layer(200, 10, 0.5, learn_pos_emb=learned)
    reference.scorer = model.scorer
    x = log_power(1, 200, 10)
    torch.testing.assert_close(model(x)["resolution_enc"], reference(x)["resolution_enc"])


def test_documented_use_of_the_original(tmp_path):
    model = DiffRes(in_t_dim=3000, in_f_dim=128, dimension_reduction_rate=0.75, learn_pos_emb=False)
    ret = model(torch.randn(1, 3000, 128))
    shapes = {
        "score": (1, 3000, 1),
        "guide_loss": (),
        "avgpool": (1, 750, 128),
        "maxpool": (1, 750, 128),
        "resolution_enc": (1, 750, 128),
        "feature": (1, 3, 750, 128),
        "activeness": (),
        "x": (1, 3000, 128),
    }
    for name, shape in shapes.items():
        assert ret[name].shape == shape
    assert "weight" not in ret
    model.visualize(ret, savepath=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_ten_pictures_at_most(tmp_path):
    model = layer(20, 8, 0.5)
    model.visualize(model(log_power(12, 20, 8)), savepath=tmp_path / "new" / "folder")
    pictures = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert pictures == [f"{i}.png" for i in range(10)]
    assert (tmp_path / "new" / "folder" / "0.png").read_bytes().startswith(b"\x89PNG")


def test_the_scorer_learns_through_the_warp():
    model = DiffRes(40, 12, 0.5)
    ret = model(log_power(3, 40, 12))
    (ret["feature"].square().mean() + ret["guide_loss"] + ret["activeness"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
    assert model.scorer.blks[0].cnn1.weight.grad.abs().max() > 0


@pytest.mark.parametrize("aggregate", ["avgpool", "maxpool", "resolution_enc"])
def test_numerical_gradients(aggregate):
    model = layer(9, 3, 0.5, learn_pos_emb=True).double()
    x = log_power(2, 9, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(x)[aggregate], (x,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_sums_and_exponentials_wide(dtype):
    model = layer(400, 16, 0.75)
    x = log_power(2, 400, 16)
    with torch.autocast("cpu", dtype=dtype):
        ret = model(x)
    assert ret["feature"].dtype == torch.float32
    wide = dense(ret, 0.75, model.positions(400, 16).numpy())
    for name in MAPS:
        np.testing.assert_allclose(ret[name].detach().numpy(), wide[name], rtol=1e-3, atol=1e-3)


def test_half_precision_input_is_widened():
    x = log_power(1, 50, 8)
    model = layer(50, 8, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x.bfloat16())["avgpool"].dtype == torch.float32


def test_double_precision():
    model = layer()
    x = log_power(2, 60, 20)
    single, double = model(x), copy.deepcopy(model).double()(x.double())
    assert double["feature"].dtype == torch.float64
    torch.testing.assert_close(single["score"].double(), double["score"], rtol=0, atol=1e-5)


@pytest.mark.gpu
@cuda
def test_gpu_gives_the_same():
    model, x = layer(learn_pos_emb=True), log_power(3, 60, 20)
    lengths = torch.tensor([60, 20, 41])
    expected = model(x, lengths)
    (expected["feature"].mean() + expected["guide_loss"]).backward()
    twin = copy.deepcopy(model).cuda()
    got = twin(x.cuda(), lengths.cuda())
    for name in [*MAPS, "score", "guide_loss", "activeness"]:
        torch.testing.assert_close(got[name].cpu(), expected[name], rtol=1e-3, atol=1e-3)
    twin.zero_grad()
    (got["feature"].mean() + got["guide_loss"]).backward()
    for ours, want in zip(twin.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.cpu(), want.grad, rtol=1e-2, atol=1e-4)


def test_maps_are_views_that_may_be_changed():
    ret = layer()(log_power(3, 60, 20))
    ret["avgpool"].mul_(0)
    assert not ret["feature"][:, 0].any()
    assert ret["feature"].is_contiguous()


LONG_CLIP = """
import resource, torch
from skaudio.layers.resolution.diffres import DiffRes
torch.set_num_threads(1)
model = DiffRes(30_000, 4, 0.75)
model(torch.randn(1, 300, 4))["feature"].sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model(torch.randn(1, 30_000, 4))["feature"].sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_is_linear_in_frames():
    # The matrix of all weights would take 900 MB.
    done = subprocess.run([sys.executable, "-c", LONG_CLIP], capture_output=True, check=True)
    assert float(done.stdout) < 200


def test_same_bits_every_time_and_after_pickling():
    x = log_power(3, 60, 20)

    def run(model):
        model.zero_grad()
        ret = model(x)
        (ret["feature"].square().mean() + ret["guide_loss"]).backward()
        return [ret["feature"], *(p.grad.clone() for p in model.parameters())]

    model = layer()
    for first, second, third in zip(
        run(model), run(model), run(pickle.loads(pickle.dumps(model))), strict=True
    ):
        assert torch.equal(first, second)
        assert torch.equal(first, third)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match=r"rate of .*expected one in \[0, 1\)"):
        DiffRes(10, 4, rate)


def test_a_rate_that_leaves_no_frame_is_refused():
    with pytest.raises(ValueError, match=r"Of 3 frames, none .* 0\.75.*at least 4 frames"):
        DiffRes(3, 4, 0.75)
    model = DiffRes(8, 4, 0.75)
    with pytest.raises(ValueError, match="Of 2 frames, none"):
        model(torch.randn(1, 2, 4))
    with pytest.raises(ValueError, match="Of 2 frames, none"):
        model(torch.randn(2, 8, 4), torch.tensor([8, 2]))


@pytest.mark.parametrize("shape", [(2, 10), (2, 10, 5), (1, 2, 10, 4)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(batch, n_frames, 4\)"):
        DiffRes(10, 4, 0.5)(torch.randn(shape))


@pytest.mark.parametrize("lengths", [[10], [10, 11], [0, 10]])
def test_wrong_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="expected 2 of them between 1 and 10"):
        DiffRes(10, 4, 0.5)(torch.randn(2, 10, 4), torch.tensor(lengths))


# Golden numbers: what the authors' code gave.


def original(case):
    """Load a state dict under the authors' names, as their checkpoints have it."""
    model = DiffRes(**json.loads(str(GOLDEN[f"{case}/config"])))
    state = {
        key.replace(f"{case}/scorer_state", "model").replace("/", "."): torch.from_numpy(value)
        for key, value in GOLDEN.items()
        if key.startswith(f"{case}/scorer_state")
    }
    for key in [key for key in state if key.endswith("running_mean")]:
        state[key.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    config = json.loads(str(GOLDEN[f"{case}/config"]))
    table = DiffRes(**config).positions.table.detach()
    stored = f"{case}/pos_emb"
    state["pos_emb"] = torch.from_numpy(GOLDEN[stored]) if stored in GOLDEN else table[None]
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize(
    "name", ["score", "weight", "resolution_enc", "guide_loss", "guide_loss_total", "activeness"]
)
def test_golden_outputs(case, name):
    with torch.no_grad():
        got = original(case)(golden(case, "x"), return_weight=True)[name]
    expected = golden(case, name)
    torch.testing.assert_close(got, expected.view(got.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", WHOLE)
def test_golden_empty_frames(case):
    assert torch.equal(original(case)(golden(case, "x"))["score_mask"], golden(case, "score_mask"))


@pytest.mark.parametrize("case", WHOLE)
def test_golden_maps(case):
    # As power: where a frame's share of a slot is next to nothing, the last bit of the score's
    # running sum shows in the logarithm.
    with torch.no_grad():
        ret = original(case)(golden(case, "x"))
    for name, share in (("avgpool", 0.999), ("maxpool", 0.99)):
        ours, theirs = ret[name].exp(), golden(case, name).exp()
        close = torch.isclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert close.float().mean() >= share


def golden_slots(case):
    score = golden(case, "score")[..., 0].double().requires_grad_()
    n_slots = GOLDEN[f"{case}/weight"].shape[2]
    return score, assign_slots(score, torch.full((len(score),), n_slots), n_slots)


@pytest.mark.parametrize("case", WHOLE)
def test_golden_maps_given_the_score(case):
    # From the same score even the logarithms agree, cell by cell.
    x, (_, slots) = golden(case, "x"), golden_slots(case)
    rate = json.loads(str(GOLDEN[f"{case}/config"]))["dimension_reduction_rate"]
    avgpool, maxpool = pool_slots(x, None, slots, gain=1 / (1 - rate))[0].unbind(1)
    torch.testing.assert_close(avgpool, golden(case, "avgpool"), rtol=1e-4, atol=1e-5)
    theirs = golden(case, "maxpool")
    off = ~torch.isclose(maxpool, theirs, rtol=1e-4, atol=1e-5)
    assert off.float().mean() < 0.01


def test_golden_maxima_differ_only_beside_shares_under_a_hundredth():
    # Where the original's maximum is not the defined one, a frame has less than 0.01 of that slot
    # or of the next but one: it books even and odd slots in two passes.
    case = "silence_64"
    x, weight = golden(case, "x"), golden(case, "weight")
    defined = ((weight[..., None] * x.exp()[:, :, None]).amax(1) / 0.5 + 1e-12).log()
    _, slots = golden_slots(case)
    ours = pool_slots(x, None, slots, gain=2.0)[0][:, 1]
    torch.testing.assert_close(ours, defined, rtol=1e-4, atol=1e-4)
    off = ~torch.isclose(ours, golden(case, "maxpool"), rtol=1e-4, atol=1e-4)
    assert off.any()
    sliver = ((weight > 0) & (weight < 0.01)).any(1).float()
    near = nn.functional.max_pool1d(sliver[:, None], 5, stride=1, padding=2)[:, 0].bool()
    assert near.float().mean() < 0.5
    assert near[off.any(2)].all()


@pytest.mark.parametrize("case", [*WHOLE, "quarter_128"])
def test_golden_weights_and_encoding_given_the_score(case):
    _, slots = golden_slots(case)
    torch.testing.assert_close(overlap_matrix(slots).float(), golden(case, "weight"))
    table = DiffRes(**json.loads(str(GOLDEN[f"{case}/config"]))).positions.table.detach()
    silence = torch.zeros(len(slots.head), *table.shape)
    maps, _ = pool_slots(silence, table, slots)
    torch.testing.assert_close(maps[:, 2], golden(case, "resolution_enc"), rtol=1e-4, atol=1e-5)


def weighted(y):
    return (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum()


@pytest.mark.parametrize("case", ["silence_64", "mild_64"])
def test_golden_gradient_of_the_mean_wrt_score(case):
    score, slots = golden_slots(case)
    maps, _ = pool_slots(golden(case, "x"), None, slots)
    (grad,) = torch.autograd.grad(weighted(maps[:, 0].exp()), score)
    expected = golden(case, "grad_mean_wrt_score")[..., 0]
    torch.testing.assert_close(grad.float(), expected, rtol=1e-4, atol=1e-4)


def test_golden_gradient_of_the_mean_wrt_feature():
    x = golden("silence_64", "x").requires_grad_()
    _, slots = golden_slots("silence_64")
    maps, _ = pool_slots(x, None, slots)
    (grad,) = torch.autograd.grad(weighted(maps[:, 0].exp()), x)
    expected = golden("silence_64", "grad_mean_wrt_feature")
    torch.testing.assert_close(grad / x.exp(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["silence_64", "mild_64", "quarter_128"])
def test_golden_gradient_of_the_encoding_wrt_score(case):
    score, slots = golden_slots(case)
    table = DiffRes(**json.loads(str(GOLDEN[f"{case}/config"]))).positions.table.detach()
    maps, _ = pool_slots(torch.zeros(len(score), *table.shape), table, slots)
    (grad,) = torch.autograd.grad(weighted(maps[:, 2]), score)
    expected = golden(case, "grad_pos_wrt_score")[..., 0]
    # Gradients reach 27 and are differences of sums of that size, in the original in float32.
    torch.testing.assert_close(grad.float(), expected, rtol=1e-4, atol=1e-4)


def test_golden_score_normalisation():
    case = "score_norm_peaky"
    raw, n_slots = golden(case, "raw")[..., 0].double(), int(GOLDEN[f"{case}/total_length"])
    budget = torch.full((len(raw),), n_slots)
    score = normalise_scores(raw, budget, torch.ones_like(raw, dtype=torch.bool))
    expected = golden(case, "normalised")[..., 0]
    torch.testing.assert_close(score.float(), expected, rtol=1e-4, atol=1e-5)
    slots = assign_slots(expected.double(), budget, n_slots)
    power = golden(case, "feature")
    torch.testing.assert_close(
        overlap_matrix(slots).float(), golden(case, "weight"), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        slot_sums(power, slots), golden(case, "mean_feature"), rtol=1e-4, atol=1e-5
    )
    maps, _ = pool_slots(power.log(), None, slots, gain=2.0)
    close = torch.isclose(maps[:, 1].exp(), golden(case, "max_feature"), rtol=1e-4, atol=1e-5)
    assert close.float().mean() >= 0.99
