import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skaudio.datasets import make_tones
from skaudio.estimators import AudioClassifier
from skaudio.features import LogMelSpectrogram
from skaudio.layers import AvgPool, DiffRes, DiffResF, DiffResTF
from skaudio.networks import DiffResNet, MTSNet
from skaudio.plots import ResolutionDisplay

X, y = make_tones(8, random_state=0)
MEL = LogMelSpectrogram(sample_rate=8000, n_mels=20)
IMPORTANCE, BEFORE, AFTER, ENCODING = range(4)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def classifier(rate=0.75, **options):
    network = DiffResNet(rate, MTSNet(n_filters=(4,), tempo_factors=()))
    return AudioClassifier(network, max_epochs=1, random_state=0, **options)


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(MEL, classifier()).fit(X, y)


def shown(display, panel):
    return display.axes_[panel].images[0].get_array()


def line(display):
    return display.axes_[IMPORTANCE].lines[0].get_ydata()


def test_panels_show_the_clip_before_and_after(pipeline):
    display = ResolutionDisplay.from_estimator(pipeline, X[3])
    features = MEL.transform([X[3]])[0]
    kept = features.shape[1] // 4
    np.testing.assert_allclose(shown(display, BEFORE), features, atol=1e-3)
    assert shown(display, AFTER).shape == (20, kept)
    assert shown(display, ENCODING).shape == (20, kept)
    # Merging frames averages power: nothing gets louder than the loudest frame.
    assert shown(display, AFTER).max() <= features.max() + 1e-3
    assert line(display).shape == (features.shape[1],)
    assert line(display).sum() == pytest.approx(kept, abs=1)
    assert display.figure_.axes[0] is display.axes_[0]


@pytest.mark.parametrize(
    "layer",
    [DiffRes(30, 6, 0.5), DiffResF(30, 6, 0.5), DiffResTF(30, 6, 0.5, 0.5), AvgPool(30, 6, 0.5)],
)
def test_padding_is_not_drawn(layer):
    layer.eval()
    x = torch.randn(2, 30, 6) - 9
    x[1, 18:] = 0  # in logarithms of power, louder than all else
    alone = ResolutionDisplay(layer(x[1:, :18])).plot()
    padded = ResolutionDisplay(layer(x, torch.tensor([30, 18])), clip=1).plot()
    for ours, theirs in zip(padded.axes_, alone.axes_, strict=True):
        assert ours.get_title(loc="left") == theirs.get_title(loc="left")
        for image, expected in zip(ours.images, theirs.images, strict=True):
            assert image.get_clim() == pytest.approx(expected.get_clim())
            np.testing.assert_allclose(image.get_array(), expected.get_array(), atol=1e-4)
        for line, expected in zip(ours.lines, theirs.lines, strict=True):
            np.testing.assert_allclose(line.get_ydata(), expected.get_ydata(), atol=1e-5)


def test_importance_is_what_the_network_scored(pipeline):
    display = ResolutionDisplay.from_estimator(pipeline, X[0])
    x = torch.from_numpy(MEL.transform([X[0]])[0])[None, None]
    network = pipeline[-1].net_.module_.network
    with torch.no_grad():
        score = network.warp(x)["score"]
    np.testing.assert_allclose(line(display), score[0, :, 0].numpy(), atol=1e-5)


def test_searches_and_nested_pipelines_are_looked_into(pipeline):
    search = GridSearchCV(make_pipeline(MEL, classifier()), {"audioclassifier__lr": [1e-3]}, cv=2)
    search.fit(X, y)
    nested = make_pipeline("passthrough", pipeline)
    for estimator, inner in ((search, search.best_estimator_), (nested, pipeline)):
        display = ResolutionDisplay.from_estimator(estimator, X[0])
        np.testing.assert_array_equal(
            line(display), line(ResolutionDisplay.from_estimator(inner, X[0]))
        )


def test_looking_changes_nothing(pipeline):
    layer = pipeline[-1].net_.module_.network.diffres
    before = pipeline.predict_proba(X)
    ResolutionDisplay.from_estimator(pipeline, X[0])
    with pytest.raises(ValueError, match="NaN"):
        ResolutionDisplay.from_estimator(pipeline[-1], np.full((20, 30), np.nan))
    assert not layer._forward_hooks
    assert np.array_equal(pipeline.predict_proba(X), before)


def test_features_and_waveforms_show_the_same(pipeline):
    inside = classifier(frontend=MEL).fit(X, y)
    from_waveform = ResolutionDisplay.from_estimator(inside, X[1])
    features = MEL.transform([X[1]])[0]
    np.testing.assert_allclose(shown(from_waveform, BEFORE), features, atol=0.05)
    from_features = ResolutionDisplay.from_estimator(pipeline[-1], features)
    np.testing.assert_allclose(shown(from_features, BEFORE), features, atol=1e-3)


def test_a_window_is_shown_as_it_is_seen():
    model = classifier(frontend=MEL, crop=0.1).fit(X, y)
    display = ResolutionDisplay.from_estimator(model, X[0])
    n_samples = round(0.1 * 8000)
    assert shown(display, BEFORE).shape == MEL.transform([np.zeros(n_samples)])[0].shape


def test_a_figure_can_be_given(pipeline):
    figure = plt.figure(figsize=(5, 9))
    left, _ = figure.subfigures(1, 2)
    display = ResolutionDisplay.from_estimator(pipeline, X[0], figure=left)
    assert display.figure_ is left
    again = display.plot()
    assert again is display
    assert display.figure_ is not left
    np.testing.assert_allclose(display.figure_.get_size_inches()[0], 7)


@pytest.mark.parametrize(
    ("layer", "n_panels"), [(DiffResF(30, 12, 0.5), 4), (DiffResTF(30, 12, 0.5, 0.5), 5)]
)
def test_results_of_the_other_layers(layer, n_panels):
    result = layer(torch.randn(2, 30, 12))
    first, second = (ResolutionDisplay(result, clip=clip).plot() for clip in (0, 1))
    assert len(first.axes_) == n_panels
    assert not np.array_equal(line(first), line(second))


@pytest.mark.parametrize("unfitted", [classifier(), make_pipeline(MEL, classifier())])
def test_unfitted(unfitted):
    with pytest.raises(NotFittedError, match="AudioClassifier instance is not fitted yet"):
        ResolutionDisplay.from_estimator(unfitted, X[0])


def test_no_resolution_layer():
    model = AudioClassifier(MTSNet(n_filters=(2,)), frontend=MEL, max_epochs=1, random_state=0).fit(
        X, y
    )
    with pytest.raises(
        ValueError, match=r"(?s)got AudioClassifier.*expected an estimator whose net"
    ):
        ResolutionDisplay.from_estimator(model, X[0])
    other = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match=r"got LogisticRegression.*DiffResNet\(reduction_rate=0.5"):
        ResolutionDisplay.from_estimator(other, X[0])
