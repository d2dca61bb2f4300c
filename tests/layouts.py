"""Small folders laid out as the publishers lay out the data of the presets, with noise for images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tlbench.tasks import registry


def noise(seed: int, side: int = 40) -> bytes:
    """A JPEG of its own for each seed, as bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(sink, "JPEG")
    return sink.getvalue()


def written(file: Path, content: bytes | str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def office31(root: Path, n: int = 1) -> None:
    c = registry.find("office31_trained")[0].card
    places = [(d, k, i) for d in c.domains for k in c.classes for i in range(n)]
    for seed, (d, k, i) in enumerate(places):
        written(root / f"office31/{d}/images/{k}/frame_{i:04d}.jpg", noise(seed))


def parquet(file: Path, images: list[bytes], labels: list[int], names: list[str], domains: list[str] | None) -> None:
    """As the hub's library writes one."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    held = {"image": [{"bytes": b, "path": None} for b in images], "label": labels}
    table = pa.table(held | ({"domain": domains} if domains else {}))
    said = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(said)}), file)


def office_home(root: Path, n: int = 2) -> None:
    domains = [d for d in ("Art", "Clipart", "Product", "Real World") for _ in range(3 * n)]
    labels = [i % 3 for i in range(len(domains))]
    names, images = ["Alarm_Clock", "Backpack", "Batteries"], [noise(i) for i in range(len(domains))]
    parquet(root / "office_home/data/train-00000-of-00001.parquet", images, labels, names, domains)


def visda2017(root: Path, n: int = 2) -> None:
    classes = registry.find("visda2017")[0].card.classes
    for seed, domain in enumerate(("train", "validation")):
        lines = [f"{k}/{i}.jpg {y}" for y, k in enumerate(classes) for i in range(n)]
        for i, line in enumerate(lines):
            written(root / f"visda2017/{domain}/{line.split()[0]}", noise(1000 * seed + i))
        written(root / f"visda2017/{domain}/image_list.txt", "\n".join(lines) + "\n")


def numbered(train: int, test: int, classes: int) -> Iterator[tuple[int, int, bool]]:
    """Number, class and whether it is tested, of so many training and test images of each class."""
    told = [(y, i >= train) for y in range(classes) for i in range(train + test)]
    yield from ((number, y, tested) for number, (y, tested) in enumerate(told, 1))


def cub200(root: Path, train: int = 16, test: int = 2, classes: int = 3) -> Path:
    home, names = root / "cub200", ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    images = [(n, f"{names[y]}/bird_{n}.jpg", y, t) for n, y, t in numbered(train, test, classes)]
    for n, path, _, _ in images:
        written(home / "images" / path, noise(n))
    written(home / "classes.txt", "".join(f"{y + 1} {names[y]}\n" for y in range(classes)))
    written(home / "images.txt", "".join(f"{n} {path}\n" for n, path, _, _ in images))
    written(home / "image_class_labels.txt", "".join(f"{n} {y + 1}\n" for n, _, y, _ in images))
    written(home / "train_test_split.txt", "".join(f"{n} {int(not t)}\n" for n, _, _, t in images))
    return home


def aircraft(root: Path, train: int = 35, test: int = 2, classes: int = 3) -> Path:
    home, names = root / "aircraft/data", ["707-320", "Boeing 717", "Spitfire"]
    lists = {"trainval": "", "test": ""}
    for n, y, tested in numbered(train, test, classes):
        written(home / f"images/{n:07d}.jpg", noise(n))
        lists["test" if tested else "trainval"] += f"{n:07d} {names[y]}\n"
    for split, lines in lists.items():
        written(home / f"images_variant_{split}.txt", lines)
    return home


def stanford_cars(root: Path, train: int = 22, test: int = 2, classes: int = 3) -> Path:
    names = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]
    told = list(numbered(train, test, classes))
    for split, wanted in (("train", False), ("test", True)):
        own = [(noise(n), y) for n, y, tested in told if tested == wanted]
        file = root / f"stanford_cars/data/{split}-00000-of-00001.parquet"
        parquet(file, [b for b, _ in own], [y for _, y in own], names[:classes], None)
    return root / "stanford_cars/data"


LAYOUTS = {f.__name__: f for f in (office31, office_home, visda2017, cub200, aircraft, stanford_cars)}


def weights(root: Path, name: str) -> Path:
    """A backbone's weights as `data pull` keeps them, drawn by chance: the network of timm with its classifier."""
    import timm
    from safetensors.torch import save_file

    from tlbench.tasks.datasets import pretrained

    model = timm.create_model(str(pretrained.read(name).timm))
    root.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, root / f"{name}.safetensors")
    return root
