"""Score-CAM: feature maps weighted by the score of the image masked by each (Wang et al., CVPR 2020 workshop).

Algorithm 1: map k, enlarged and scaled to [0, 1], masks the image; the weights are the softmax over k of the scores,
and the map is relu(sum_k w_k A_k). The paper first subtracts the empty image's score, which does not affect the
softmax.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bench.errors import RequestError
from bench.method import prediction
from methods.grad_cam import GradCam, GradCamConfig
from methods.layers.attribution import get_layer
from methods.layers.perturbation import Perturbation


class ScoreCamConfig(GradCamConfig):
    """Settings of Score-CAM."""

    channel_weights: Literal["softmax", "probability"] = prediction(
        "softmax", "the softmax of a class's scores over the channels (Algorithm 1), or its probabilities (released)"
    )
    channels: int = prediction(0, "use this many channels, those whose maps vary most; 0: all, as the paper does", ge=0)


class ScoreCam(Perturbation, GradCam):
    """The positive part of the weighted sum of feature maps."""

    Own: ClassVar = ScoreCamConfig
    config: Any
    variants: ClassVar = {"released": {"channel_weights": "probability"}}

    def explain_image(self, image: Tensor, classes: Tensor) -> Tensor:
        """Compute maps (c, h, w) at the resolution of the layer. Raises RequestError for a layer without maps."""
        features = self._select_channels(self._compute_features(image))
        scores = torch.cat(
            [
                self.score_masked(image, scale_maps(features[batch.start : batch.stop], image.shape[1:])[:, None])
                for batch in self.split_batches(len(features))
            ]
        )
        if self.config.channel_weights == "softmax":
            weight = scores[:, classes].softmax(dim=0)
        else:
            is_constant = features.amax(dim=(1, 2)) == features.amin(dim=(1, 2))
            weight = torch.where(is_constant[:, None], 0, self.probabilities(scores)[:, classes])
        return torch.einsum("kc,kyx->cyx", weight.to(features), features).relu()

    def _compute_features(self, image: Tensor) -> Tensor:
        """Compute the layer's maps (K, h, w)."""
        outputs: list[Tensor] = []
        layer = get_layer(self.base, self.config.layer)
        with layer.register_forward_hook(lambda layer, given, out: outputs.append(out)):
            self.base(image[None])
        if outputs[-1].ndim != 4:
            raise RequestError(
                f"layer={self.config.layer} gives no feature maps, but outputs of shape {tuple(outputs[-1].shape[1:])}."
            )
        return outputs[-1][0]

    def _select_channels(self, features: Tensor) -> Tensor:
        if not 0 < self.config.channels < len(features):
            return features
        return features[features.flatten(1).var(dim=1).topk(self.config.channels).indices]


def scale_maps(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Enlarge maps (n, h, w) to (n, H, W), and scale each to [0, 1]; constant maps become 0."""
    large = interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    least, most = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    return torch.where(most > least, (large - least) / (most - least), 0)
