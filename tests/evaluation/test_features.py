"""The features that a network has learnt: what they are, how far they move, how separable classes are in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import ran
from torch import nn

from robench_fire.data.batches import to_float
from robench_fire.errors import RecipeError, UsageError
from robench_fire.evaluation import features
from robench_fire.evaluation.features import Seen
from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.dataset import Splits
from robench_fire.runs.model_source import model_sources


def test_features_are_what_the_last_linear_layer_reads(small: Splits) -> None:
    model, x = DigitsCNN().eval(), to_float(small.test.images)
    found = features.of(model, x)
    last = model.classifier[-1]
    assert isinstance(last, nn.Linear)
    assert found.shape == (64, last.in_features)
    torch.testing.assert_close(last(found), model(x))
    assert not last._forward_pre_hooks


def test_a_network_without_a_linear_layer_has_none() -> None:
    with pytest.raises(RecipeError, match="Sequential has no linear layer, whose input would be its features"):
        features.of(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()), torch.rand(1, 1, 8, 8))


def made(shift: float, scale: float = 1.0) -> Seen:
    """Two classes at (-1, 0) and (1, 0), and perturbed images that lie ``shift`` further to the right."""
    label = np.arange(40) % 2
    clean = scale * np.stack([2.0 * label - 1, np.zeros(40)], 1)
    return Seen(clean, clean + scale * np.array([shift, 0.0]), label, clean, label)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_moved_is_in_units_of_the_spread(scale: float) -> None:
    assert features._moved(made(0.5, scale), np.ones(40, bool)) == pytest.approx(0.5)
    assert features._moved(made(0.0, scale), np.ones(40, bool)) == 0


def test_a_class_that_moves_more_is_seen() -> None:
    seen = made(0.0)
    seen.adv[seen.label == 1] += [0.0, 3.0]
    assert [features._moved(seen, seen.label == label) for label in (0, 1)] == pytest.approx([0, 3])


def test_separability_is_a_linear_classifiers_accuracy() -> None:
    assert features._separable(made(0.1)) == (100, 100)
    assert features._separable(made(5.0)) == (100, 50)  # all perturbed ones lie on one side


@pytest.mark.parametrize("embedding", ["pca", "tsne"])
def test_an_embedding_has_two_coordinates_and_is_the_same_again(embedding: features.Embedding) -> None:
    seen = made(0.3)
    seen.clean[:, 1] = np.linspace(-1, 1, 40)
    found = features._embedded(seen, embedding, 0)
    assert found == features._embedded(seen, embedding, 0)
    assert np.array(found["clean"]).shape == np.array(found["perturbed"]).shape == (40, 2)
    assert found["label"] == seen.label.tolist()


@pytest.mark.slow
def test_the_command_writes_what_it_shows(tmp_path: Path) -> None:
    words = "--epochs 3 --set recipe.attack.steps=2 --set recipe.attack.step=0.1 --no-eval --jobs 1"
    ran(tmp_path, *f"train madry digits --seeds 2 {words}".split())
    shown = ran(tmp_path, *"features runs --examples 40 -o found.json".split()).stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert [each["name"] for each in found["models"]] == ["madry seed 0", "madry seed 1"]
    assert "40 test images" in shown
    assert f"{found['models'][0]['moved']:.3f}" in shown
    assert set(found["models"][0]["moved_by_class"]) <= set(map(str, range(10)))
    assert found["mean"]["moved"]["mean"] == pytest.approx(np.mean([each["moved"] for each in found["models"]]))
    refused = ran(tmp_path, *"features runs --embedding umap".split(), code=2).stderr
    assert "--embedding umap: choose pca or tsne" in refused


def test_the_probe_sees_every_class_of_images_that_lie_by_class(
    small: Splits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = small.train.take(small.train.labels.argsort())
    monkeypatch.setattr(features, "FITTED", 60)
    monkeypatch.setattr("robench_fire.data.fetching.splits", lambda *_: small._replace(train=train))
    seen: list[Seen] = []
    monkeypatch.setattr(features, "_separable", lambda found: seen.append(found) or (0.0, 0.0))
    torch.save(DigitsCNN().state_dict(), tmp_path / "digits.pt")
    (source,) = model_sources(str(tmp_path / "digits.pt"), "digits", "digits-cnn", "", tmp_path)
    features.features([source], "pca", 20, 0, tmp_path, torch.device("cpu"), lambda *_: None)
    assert len(seen[0].train_label) == 60
    assert set(seen[0].train_label) == set(range(10))
    with pytest.raises(UsageError, match="features of 2 test images lie in no plane; take 3 or more"):
        features.features([source], "pca", 2, 0, tmp_path, torch.device("cpu"), lambda *_: None)
