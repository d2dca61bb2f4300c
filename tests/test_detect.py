"""The detector and its measure, held against boxes that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tlbench.runner.worker import child
from tlbench.tasks.metrics import ap50
from tlbench.tasks.problems.detection import padded
from tlbench.training import backbones, detector
from tlbench.training.predictors import predictor


class Maps(torch.nn.Module):
    """Features whose maps are the images themselves."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return x


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


def found(*rows: tuple[float, ...], q: int = 4) -> np.ndarray:
    out = np.zeros((1, q, 6), np.float32)
    out[0, : len(rows)] = np.reshape(rows, (-1, 6))
    return out


TRUTH = boxes((10, 10, 30, 30, 0), (50, 50, 60, 70, 1))


@pytest.mark.parametrize(
    ("boxes_found", "expected"),
    [
        (found((10, 10, 30, 30, 0.9, 0), (50, 50, 60, 70, 0.8, 1)), 1.0),
        (found((10, 10, 30, 30, 0.9, 0)), 0.5),  # the second class is missed
        (found((10, 10, 30, 30, 0.9, 1), (50, 50, 60, 70, 0.8, 0)), 0.0),  # classes confused
        (found((0, 0, 9, 9, 0.9, 0), (10, 10, 30, 30, 0.8, 0), (50, 50, 60, 70, 0.8, 1)), 0.75),  # precision 1/2 once
        (found((10, 10, 30, 23.9, 0.9, 0), (50, 50, 60, 70, 0.8, 1)), 1.0),  # IoU .695
        (found((10, 10, 30, 19.9, 0.9, 0), (50, 50, 60, 70, 0.8, 1)), 0.5),  # IoU .495
        (found((10, 10, 30, 30, 0.0, 0), (50, 50, 60, 70, 0.8, 1)), 0.5),  # a score of 0 is no box
        (found(), 0.0),
    ],
)
def test_average_precision_is_what_it_must_be(boxes_found: np.ndarray, expected: float) -> None:
    assert ap50(boxes_found, [TRUTH]) == pytest.approx(expected, abs=2e-3)


def test_a_place_belongs_to_the_smallest_box_around_it() -> None:
    places = torch.tensor([[20.0, 20.0], [55.0, 60.0], [5.0, 5.0], [21.0, 21.0]])
    y = torch.tensor([[0, 1, 2, -1]])
    corners = torch.tensor([[[0, 0, 60, 60], [10, 10, 30, 30], [50, 50, 60, 70], [0, 0, 60, 60]]]).float()
    assert detector.owners(places, y, corners).tolist() == [[1, 2, -1, 1]]


def test_an_image_without_a_box_owns_no_place_and_has_a_finite_loss() -> None:
    net = detector.Detector(8, 3, 4)
    maps = torch.randn(2, 8, 6, 5)
    y, corners = torch.full((2, 0), -1), torch.zeros(2, 0, 4)
    assert (detector.owners(net.places(maps), y, corners) == -1).all()
    assert torch.isfinite(net.loss(maps, y, corners))


def test_boxes_lie_inside_the_image_and_are_sorted_by_score() -> None:
    net = detector.Detector(8, 3, 4).eval()
    torch.nn.init.constant_(net.kind.bias, 0.0)
    with torch.no_grad():
        out = net.boxes(torch.randn(2, 8, 6, 5), (24, 20))
    assert out.shape == (2, detector.MOST, 6)
    kept = out[out[..., 4] > 0]
    assert len(kept)
    assert kept[:, :4].min() >= 0
    assert kept[:, [0, 2]].max() <= 20
    assert kept[:, [1, 3]].max() <= 24
    assert (out[..., 4].diff(dim=1) <= 1e-6).all()
    assert set(kept[:, 5].tolist()) <= {0.0, 1.0, 2.0}


def test_a_detector_whose_training_diverged_is_an_error_and_one_that_finds_nothing_is_not(tmp_path: Path) -> None:
    top = detector.Detector(4, 2, 8)
    net = torch.nn.ModuleDict({"features": Maps(), "classifier": top})
    with torch.no_grad():
        top.kind.bias.fill_(-20.0)
    x = torch.rand(3, 4, 2, 2)
    assert not child.all_scores(predictor(net), x, tmp_path).any()
    with torch.no_grad():
        top.kind.bias.fill_(torch.nan)
    assert not predictor(net)(x).any()  # as if nothing were there
    with pytest.raises(ValueError, match=r"scores are not finite .* its training diverged"):
        child.all_scores(predictor(net), x, tmp_path)
    assert not predictor(net)(x).any()  # who asks elsewhere is not watched


@pytest.mark.slow
def test_it_learns_to_find_squares() -> None:
    """Bright squares of two sizes on noise: after a minute's worth of steps nearly all are found."""
    random = np.random.default_rng(0)

    def draw(n: int) -> tuple[torch.Tensor, list[np.ndarray]]:
        x, truth = random.integers(0, 60, (n, 1, 48, 64)).astype(np.float32), []
        for image in x:
            own = []
            for _ in range(2):
                kind = int(random.integers(2))
                side = (10, 18)[kind]
                left, top = int(random.integers(0, 64 - side)), int(random.integers(0, 48 - side))
                image[0, top : top + side, left : left + side] = 200
                own.append((left, top, left + side, top + side, kind))
            truth.append(boxes(*own))
        return torch.from_numpy(x) / 128 - 0.5, truth

    torch.manual_seed(0)
    trunk, head = backbones.FieldNet(1, 16), detector.Detector(16, 2, 4)
    parameters = [*trunk.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    for _ in range(150):
        x, truth = draw(8)
        y, corners = (torch.from_numpy(v) for v in padded(truth))
        optimizer.zero_grad()
        head.loss(trunk.maps(x), y, corners).backward()
        optimizer.step()
    trunk.eval()
    x, truth = draw(40)
    with torch.no_grad():
        out = head.boxes(trunk.maps(x), (48, 64)).numpy()
    assert ap50(out, truth) > 0.6  # squares that cover each other cannot all be found
    blank, untrained = (
        backbones.FieldNet(1, 16).eval(),
        detector.Detector(16, 2, 4).eval(),
    )  # a trained trunk knows squares
    with torch.no_grad():
        chance = untrained.boxes(blank.maps(x), (48, 64)).numpy()
    assert ap50(chance, truth) < 0.1


def test_boxes_of_several_images_are_padded_to_one_width() -> None:
    y, corners = padded([TRUTH, boxes(), TRUTH[:1]])
    assert y.tolist() == [[0, 1], [-1, -1], [0, -1]]
    assert corners.shape == (3, 2, 4)
    assert corners[2, 0].tolist() == [10, 10, 30, 30]
