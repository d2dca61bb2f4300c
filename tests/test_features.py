"""Decoding, folding and frozen features; full training of a backbone on real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from tlbench.errors import UsageError
from tlbench.runner import experiment, task_data
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options
from tlbench.runner.worker.extraction import Frozen, Shape, decoded, folded, rows
from tlbench.runner.worker.local import Workers
from tlbench.tasks import registry

CROP = Shape(256, 224, "crop")

# Logistic regression (C = 0.1, standardised) on the features: all of one domain to all of the other, percent.
# From the notes that come with the weights.
PUBLISHED = {
    ("amazon", "caltech10"): 88.4,
    ("amazon", "dslr"): 91.1,
    ("amazon", "webcam"): 85.4,
    ("caltech10", "amazon"): 93.9,
    ("dslr", "amazon"): 93.2,
    ("dslr", "webcam"): 99.3,
    ("webcam", "amazon"): 90.3,
    ("webcam", "caltech10"): 85.1,
}


def noise(file: Path, size: tuple[int, int]) -> Path:
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(file)
    return file


def test_the_centre_crop_is_torchvisions(tmp_path: Path) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    y, x = np.mgrid[0:300, 0:420]
    smooth = np.stack([y / 300, x / 420, (x + y) / 720], -1) * 255
    file = tmp_path / "smooth.png"
    Image.fromarray(smooth.astype(np.uint8)).save(file)
    theirs = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])(Image.open(file))
    ours = decoded(file, CROP).transpose(1, 2, 0).astype(int)
    assert np.abs(ours - np.asarray(theirs)).max() <= 2  # they round the resized width, we do not


def test_a_grey_a_palette_and_a_transparent_image_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGBA", "CMYK"):
        file = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (50, 40), 3 if mode in ("L", "P") else (9, 9, 9, 9)).save(file)
        assert decoded(file, Shape(32, 32, "squash")).shape == (3, 32, 32)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    whole = noise(tmp_path / "whole.jpg", (300, 200)).read_bytes()
    for name, content in (("cut.jpg", whole[: len(whole) // 2]), ("text.jpg", b"no image"), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=f"{name}: broken image"):
            decoded(tmp_path / name, CROP)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18", "regnetx_002"])
def test_folding_changes_no_answer_and_leaves_the_original_alone(name: str) -> None:
    net = timm.create_model(name, num_classes=0).eval()
    for module in net.modules():  # statistics as after training: at their initial values a mistake would not show
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    x = torch.randn(2, 3, 64, 64)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fast = folded(net, x[:1])
    with torch.no_grad():
        expected = net(x)
        assert torch.allclose(fast(x), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in fast.modules()) == 0
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_features_come_in_the_order_of_the_files(tmp_path: Path, real_weights: Path) -> None:
    from tlbench.tasks.datasets import pretrained

    spec = pretrained.at_hand(("mobilenetv2_100_coral",)).spec()
    files = []
    for i in range(21):  # not a multiple of the batch
        Image.new("RGB", (64, 64), (12 * i, 255 - 12 * i, 100)).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    net, shape = Frozen(spec, 224, "fp32", "cpu"), Shape(224, 224, "squash")
    found = np.stack(list(rows(files, shape, net)))
    alone = np.stack([net(torch.from_numpy(decoded(f, shape)[None])).numpy()[0] for f in files])
    assert found.shape == (21, 1280)
    assert np.abs(found - alone).max() < 1e-3
    assert np.abs(found[0] - found[-1]).max() > 0.1


@pytest.fixture(scope="module")
def features(real_data: Path, real_weights: Path) -> dict[str, tuple[Any, Any]]:
    """Frozen features and labels of the four Office-Caltech10 domains."""
    c = registry.read(registry.card_files()["office_caltech10"])
    bench = Bench(Conditions(data_root=real_data))
    found = {}
    with Workers() as workers:
        for name in c.domains:
            domain = bench.domain(c, name, 0)
            x = task_data.arrays(domain, bench.transform(c), workers, "cpu", lambda what, done, of: None)
            found[name] = np.asarray(x), domain.y
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 2,500 images through ResNet-50 in float32
def test_logistic_regression_on_the_features_is_the_published_table(features: dict[str, tuple[Any, Any]]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for (source, target), published in PUBLISHED.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(*features[source])
        ours = 100 * model.score(*features[target])
        assert abs(ours - published) <= 1.5, f"{source} to {target}: {ours:.1f}, published {published}"


def test_features_are_computed_once(real_data: Path, real_weights: Path) -> None:
    c = registry.read(registry.card_files()["office_caltech10"])
    bench = Bench(Conditions(data_root=real_data))
    domain = bench.domain(c, "dslr", 0)
    with Workers() as workers:
        first = task_data.arrays(domain, bench.transform(c), workers, "cpu", lambda what, done, of: None)
    with Workers() as workers:  # no server is started: nothing is left to compute
        x = task_data.arrays(domain, bench.transform(c), workers, "cpu", lambda what, done, of: None)
        assert workers._server is None
    assert isinstance(x, np.memmap)
    assert np.array_equal(x, first)


def test_a_broken_image_of_a_dataset_stops_the_run_with_its_name(tmp_path: Path, real_weights: Path) -> None:
    names = ("backpack", "bike")
    for domain in ("here", "there"):
        for c in names:
            (tmp_path / "my" / domain / c).mkdir(parents=True)
            for i in range(8):
                noise(tmp_path / "my" / domain / c / f"{i}.jpg", (60 + i, 50))
    broken = tmp_path / "my" / "there" / "bike" / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    with Workers() as workers:
        from tlbench.tasks.loaders import image_folders

        domain = image_folders.folder(tmp_path / "my" / "there", "there")
        bench = Bench(Conditions())
        transform = bench.transform(registry.read(registry.card_files()["office_caltech10"]))
        with pytest.raises(UsageError, match=r"there/bike/3.jpg: broken image"):
            task_data.arrays(domain, transform, workers, "cpu", lambda what, done, of: None)


@pytest.mark.slow
def test_a_backbone_is_trained_end_to_end_on_real_images(real_data: Path, real_weights: Path, tmp_path: Path) -> None:
    """A few steps from the checkpoint are well above chance: gradients flow, and the norms are in the right mode."""
    frame = experiment.run(
        "office_caltech10_trained/dslr-webcam", "source_only", budgets=[0], seeds=[0],
        settings={"steps": 6, "batch": 16}, options=Options(results=tmp_path, jobs=1, data_root=real_data),
    )  # fmt: skip
    row = frame.iloc[0]
    assert row.status == "ok", row.reason
    assert row.value > 0.5  # chance is 0.1; with norms on batch statistics this checkpoint stays there
