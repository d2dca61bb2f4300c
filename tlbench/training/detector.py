"""A compact one-stage detector without anchors: at every place of a feature map, is there an object, and how far
are its sides?

After FCOS (Tian et al., ICCV 2019) with one map: a place belongs to the smallest box in whose middle half it lies; its
classes are scored by the focal loss (Lin et al., ICCV 2017, gamma 2, alpha 1/4), its four distances, as
exponentials, by the generalised IoU loss (Rezatofighi et al., CVPR 2019). Left out: the pyramid and the centre-ness
branch, whose part the middle half plays. All losses and the suppression of doubles are torchvision's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MOST = 100  # boxes an image
LEAST_SCORE = 0.01
SAME_OBJECT = 0.5  # IoU above which the weaker of two boxes of a class is dropped


class Detector(nn.Module):
    """(b, width, h', w') feature maps -> class scores and distances a place.

    Args:
        width: channels of the maps
        n_classes: kinds of object
        stride: pixels of the image from one place to the next
    """

    def __init__(self, width: int, n_classes: int, stride: int) -> None:
        super().__init__()
        self.n_classes, self.stride = n_classes, stride
        self.tower = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.kind, self.sides = nn.Conv2d(width, n_classes, 3, padding=1), nn.Conv2d(width, 4, 3, padding=1)
        nn.init.constant_(self.kind.bias, -math.log(99))  # type: ignore[arg-type]  # nearly all places are empty
        nn.init.constant_(self.sides.bias, math.log(3))  # type: ignore[arg-type]  # three places to each side

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(b, p, n_classes) logits and (b, p, 4) distances in pixels to left, top, right, bottom; p = h' w' places."""
        f = self.tower(maps)
        distances = self.sides(f).clamp(max=6).exp() * self.stride
        return self.kind(f).flatten(2).mT, distances.flatten(2).mT

    def places(self, maps: Tensor) -> Tensor:
        """(p, 2) the x and y of every place in pixels of the image."""
        h, w = maps.shape[-2:]
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        return ((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * self.stride).to(maps.device)

    def loss(self, maps: Tensor, y: Tensor, boxes: Tensor) -> Tensor:
        """Focal plus generalised IoU loss, per object place.

        Args:
            maps: (b, width, h', w')
            y: (b, m) classes, -1 where an image has fewer boxes
            boxes: (b, m, 4)
        """
        from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss  # slow to import

        logits, distances = self(maps)
        places = self.places(maps)
        owner = owners(places, y, boxes)  # (b, p)
        image, place = (owner >= 0).nonzero(as_tuple=True)
        which = owner[image, place]
        wanted = torch.zeros_like(logits)
        wanted[image, place, y[image, which]] = 1.0
        found = corners(places[place], distances[image, place])
        count = max(1, len(image))
        focal: Tensor = sigmoid_focal_loss(logits, wanted, reduction="sum") / count
        overlap: Tensor = generalized_box_iou_loss(found, boxes[image, which], reduction="sum") / count
        return focal + overlap

    def boxes(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """(b, MOST, 6) boxes inside an image of `size` (height, width): corners, score, class; score 0 is none."""
        from torchvision.ops import batched_nms

        logits, distances = self(maps)
        scores, places = logits.sigmoid(), self.places(maps)
        out = maps.new_zeros(len(maps), MOST, 6)
        for i in range(len(maps)):
            place, kind = (scores[i] > LEAST_SCORE).nonzero(as_tuple=True)
            score = scores[i, place, kind]
            best = score.argsort(descending=True)[: 10 * MOST]
            place, kind, score = place[best], kind[best], score[best]
            found = corners(places[place], distances[i, place])
            found = torch.stack([found[:, 0::2].clamp(0, size[1]), found[:, 1::2].clamp(0, size[0])], 2).flatten(1)
            kept = batched_nms(found, score, kind, SAME_OBJECT)[:MOST]
            out[i, : len(kept)] = torch.cat([found[kept], score[kept, None], kind[kept, None].to(score.dtype)], 1)
        return out


def owners(places: Tensor, y: Tensor, boxes: Tensor) -> Tensor:
    """(b, p) the box that each of the (p, 2) places belongs to; -1 for none."""
    low, high = boxes[:, None, :, :2], boxes[:, None, :, 2:]  # (b, 1, m, 2)
    half = (high - low) / 4
    inside = ((places[:, None] - (low + high) / 2).abs() <= half.clamp(min=2.1)).all(-1) & (y >= 0)[:, None]
    area = (high - low).prod(-1).expand_as(inside).masked_fill(~inside, torch.inf)
    if area.shape[-1] == 0:
        return torch.full(area.shape[:2], -1, device=area.device)
    least, which = area.min(-1)
    return which.masked_fill(least.isinf(), -1)


def corners(places: Tensor, distances: Tensor) -> Tensor:
    """(n, 2) places and (n, 4) distances -> (n, 4) boxes."""
    return torch.cat([places - distances[:, :2], places + distances[:, 2:]], 1)
