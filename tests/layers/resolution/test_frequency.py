import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

from skaudio.layers.resolution.diffres import DiffRes
from skaudio.layers.resolution.frequency import DiffResF, DiffResTF

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "diffres.npz")
MAPS = ["avgpool", "maxpool", "resolution_enc"]


def golden(case, name):
    return torch.from_numpy(GOLDEN[f"{case}/{name}"])


def log_power(batch, n_frames, n_bands, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, n_frames, n_bands, generator=rng) * 2 - 5


def made(kind, n_frames, n_bands, *rates, **options):
    torch.manual_seed(0)
    model = kind(n_frames, n_bands, *rates, **options)
    for seed in range(4):
        model(log_power(4, n_frames, n_bands, seed))
    return model.eval()


@pytest.mark.parametrize(("n_bands", "kept"), [(1, 1), (2, 1), (13, 6), (64, 32)])
@pytest.mark.parametrize("n_frames", [1, 5, 150])
def test_frequency_is_the_dense_definition(n_frames, n_bands, kept):
    rate = 0.0 if n_bands == 1 else 0.5
    model = made(DiffResF, n_frames, n_bands, rate).double()
    x = log_power(2, n_frames, n_bands).double()
    with torch.no_grad():
        ret = model(x, return_weight=True)
    assert ret["score"].shape == ret["score_mask"].shape == (2, 1, n_bands)
    assert ret["feature"].shape == (2, 3, n_frames, kept)
    weight = ret["weight"]
    torch.testing.assert_close(ret["avgpool"], (x.exp() @ weight + 1e-12).log())
    loudest = (x.exp()[..., None] * weight[:, None]).amax(2)
    torch.testing.assert_close(ret["maxpool"], (loudest / (1 - rate) + 1e-12).log())
    table = model.positions(n_bands, n_frames)
    torch.testing.assert_close(ret["resolution_enc"], (weight.mT @ table).mT)


def test_frequency_scores_see_pooled_time():
    model = made(DiffResF, 300, 12, 0.5, hidden_t_dim=16)
    x = log_power(2, 300, 12)
    t = x.transpose(1, 2)
    pooled = nn.functional.adaptive_avg_pool1d(t, 16) + nn.functional.adaptive_max_pool1d(t, 16)
    raw = torch.sigmoid(model.scorer(pooled / 2))[..., 0]
    order = model(x)["score"][:, 0].argsort(1)
    assert (raw.gather(1, order).diff(dim=1) >= 0).all()


def test_guide_terms_of_bands_are_the_definition():
    model = made(DiffResF, 50, 12, 0.5)
    x, lengths = log_power(3, 50, 12), [50, 20, 33]
    x[:, :, :3] = -40.0  # silent bands
    with torch.no_grad():
        ret = model(x, torch.tensor(lengths))
    spent, spread = [], []
    for clip, length in enumerate(lengths):
        energy = x[clip, :length].exp().mean(0)
        empty = energy <= energy.min() + 1e-6
        assert torch.equal(ret["score_mask"][clip, 0], empty)
        relative = ret["score"][clip, 0] / 0.5
        spent.append(relative[empty].mean())
        spread.append(relative[~empty].std())
    spent = torch.stack(spent)
    torch.testing.assert_close(ret["guide_loss_total"], spent.mean())
    torch.testing.assert_close(ret["guide_loss"], torch.where(spent > 0.5, spent, 0).mean())
    torch.testing.assert_close(ret["activeness"], torch.stack(spread).mean())


@pytest.mark.parametrize(
    ("kind", "rates"), [(DiffResF, (0.5,)), (DiffResTF, (0.5, 0.5))], ids=["F", "TF"]
)
def test_clips_of_unequal_length_stand_for_themselves(kind, rates):
    model = made(kind, 60, 20, *rates)
    x, lengths = log_power(3, 60, 20), torch.tensor([60, 17, 34])
    spoilt = x.clone()
    for clip, length in enumerate(lengths):
        spoilt[clip, length:] = float("nan")
    ret = model(spoilt, lengths)
    for clip, length in enumerate(lengths.tolist()):
        alone = model(x[clip : clip + 1, :length])
        kept = int(ret["lengths"][clip])
        assert kept == int(alone["lengths"])
        for name in MAPS:
            torch.testing.assert_close(
                ret[name][clip, :kept], alone[name][0], rtol=1e-4, atol=1e-4, msg=name
            )


@pytest.mark.parametrize(
    ("n_frames", "n_bands", "rates", "shape"),
    [
        (120, 64, (0.5, 0.5), (60, 32)),
        (100, 30, (0.75, 0.5), (26, 16)),
        (101, 41, (0.0, 0.0), (100, 40)),
        (1, 1, (0.0, 0.0), (1, 1)),
        (3, 2, (0.5, 0.5), (2, 2)),
    ],
)
def test_both_axes_keep_an_even_number(n_frames, n_bands, rates, shape):
    ret = DiffResTF(n_frames, n_bands, *rates)(log_power(2, n_frames, n_bands))
    assert ret["feature"].shape == (2, 3, *shape)
    assert ret["lengths"].tolist() == [shape[0]] * 2


def test_both_axes_are_one_after_the_other():
    model = made(DiffResTF, 50, 16, 0.5, 0.25)
    x = log_power(2, 50, 16)
    with torch.no_grad():
        ret = model(x, return_weight=True)
        by_band = model.diffres_f(x, return_weight=True)
        by_frame = model.diffres_t(by_band["avgpool"], return_weight=True)
    for name in ("avgpool", "maxpool"):
        assert torch.equal(ret[name], by_frame[name])
    for name in ("score", "weight", "guide_loss", "activeness"):
        assert torch.equal(ret[f"{name}_t"], by_frame[name])
        assert torch.equal(ret[f"{name}_f"], by_band[name])
    for name in ("guide_loss", "guide_loss_total", "activeness"):
        assert torch.equal(ret[name], by_frame[name] + by_band[name])
    encoding = by_frame["weight"].mT @ (model.positions(50, 16) @ by_band["weight"])
    torch.testing.assert_close(ret["resolution_enc"], encoding)


def test_gradients_reach_both_scorers():
    model = DiffResTF(40, 12, 0.5, 0.5)
    ret = model(log_power(3, 40, 12))
    (ret["feature"].square().mean() + ret["guide_loss"]).backward()
    for part in (model.diffres_t, model.diffres_f):
        grad = part.scorer.blks[0].cnn1.weight.grad
        assert grad.isfinite().all()
        assert grad.abs().max() > 0


@pytest.mark.parametrize(
    ("kind", "rates"), [(DiffResF, (0.5,)), (DiffResTF, (0.5, 0.5))], ids=["F", "TF"]
)
def test_pictures(kind, rates, tmp_path):
    model = kind(30, 12, *rates)
    model.visualize(model(log_power(2, 30, 12)), savepath=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png"]
    first, second = (imread(tmp_path / name)[..., :3] for name in ("0.png", "1.png"))
    assert (first.min(axis=2) < 0.9).mean() > 0.3  # covered by spectrograms, not by axes alone
    assert (first != second).any(axis=2).mean() > 0.1  # of another clip


def test_a_rate_that_leaves_no_band_is_refused():
    with pytest.raises(ValueError, match=r"Of 3 bands, none .*at least 4 bands"):
        DiffResF(10, 3, 0.75)


@pytest.mark.parametrize("rates", [(1.0, 0.5), (0.5, -0.1)])
def test_rates_out_of_range_are_refused(rates):
    with pytest.raises(ValueError, match=r"expected one in \[0, 1\)"):
        DiffResTF(10, 8, *rates)


# Golden numbers: what the authors' code gave.


@pytest.mark.parametrize("name", MAPS)
def test_golden_frequency(name):
    case = "frequency_half"
    model = DiffResF(**json.loads(str(GOLDEN[f"{case}/config"])))
    # The scorer is held to the golden numbers of both axes below; here it says what it said.
    stated = torch.logit(golden(case, "score")).transpose(1, 2)
    model.scorer = nn.Identity()
    model.scorer.forward = lambda x: stated
    model.load_state_dict({"pos_emb": golden(case, "pos_emb")})
    ret = model(golden(case, "x"), return_weight=True)
    torch.testing.assert_close(ret["score"], golden(case, "score"), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ret["weight"], golden(case, "weight"), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ret[name], golden(case, name), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def both_axes():
    case = "time_frequency"
    config = json.loads(str(GOLDEN[f"{case}/config"]))
    rates = config.pop("output_rates")
    model = DiffResTF(**config).eval()
    state = {
        key.removeprefix(f"{case}/state/"): torch.from_numpy(GOLDEN[key])
        for key in GOLDEN
        if key.startswith(f"{case}/state/")
    }
    for key in [key for key in state if key.endswith("running_mean")]:
        state[key.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    model.load_state_dict(state)
    assert rates == [model.dimension_reduction_rate_t, model.dimension_reduction_rate_f]
    with torch.no_grad():
        return model(golden(case, "x"), return_weight=True)


@pytest.mark.parametrize("name", ["score_t", "score_f", "weight_t", "weight_f"])
def test_golden_both_axes(both_axes, name):
    expected = golden("time_frequency", name)
    torch.testing.assert_close(both_axes[name], expected, rtol=1e-4, atol=2e-5)


def test_golden_feature_of_both_axes(both_axes):
    expected = golden("time_frequency", "feature")
    encoding = both_axes["resolution_enc"]
    torch.testing.assert_close(
        encoding, golden("time_frequency", "resolution_enc"), rtol=1e-4, atol=3e-5
    )
    power, theirs = both_axes["feature"][:, :2].exp(), expected[:, :2].exp()
    torch.testing.assert_close(power[:, 0], theirs[:, 0], rtol=1e-3, atol=1e-5)
    close = torch.isclose(power[:, 1], theirs[:, 1], rtol=1e-3, atol=1e-5)
    assert close.float().mean() >= 0.99


def test_frequency_does_by_band_what_diffres_does_by_frame():
    # With square clips and the same scorer the two are each other's transpose.
    torch.manual_seed(0)
    by_band, by_frame = DiffResF(128, 128, 0.5).eval(), DiffRes(128, 128, 0.5).eval()
    by_frame.scorer = by_band.scorer
    x = log_power(1, 128, 128)
    torch.testing.assert_close(
        by_band(x)["feature"], by_frame(x.transpose(1, 2))["feature"].transpose(2, 3)
    )
