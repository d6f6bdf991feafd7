"""MELM: min-entropy latent models over proposal cliques, learned recurrently (Wan et al., TPAMI 2019).

The paper's own equations. A discovery branch minimises the global entropy of cliques (Eq. 4-7); localization branches
minimise the local entropy around the object found in the discovered clique (Eq. 8-11); recurrent learning multiplies
features by the object probability of the pass before (Alg. 1); accumulated learning seeds a branch with the objects
of all branches before it. Each point that the paper leaves open is a field of `MelmConfig`, which states its reading.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import model_validator
from torch import Tensor, nn

from bench.method import ProposalConfig, Task, prediction, training
from methods.layers import min_entropy
from methods.layers.boxes import iou
from methods.layers.cliques import complete_linkage, partition
from methods.layers.losses import binary_log_loss
from methods.layers.min_entropy import Kernel, joint_log_softmax
from methods.layers.pseudo import Seeds, assign, best_of_each, together
from methods.layers.region_method import RegionMethod, linear
from methods.layers.sampled import sampled_loss
from methods.layers.wsddn import image_log_scores, two_stream_log_scores


class MelmConfig(ProposalConfig):
    """Settings of MELM. `*`: open in the paper, our reading."""

    cliques: bool = training(True, "partition proposals into cliques; false: each proposal is one (MELM-base)")
    tau: float = training(0.7, "IoU above which proposals share a clique (Table 2)", ge=0, le=1)
    top: int = training(200, "proposals partitioned into cliques, the best ones", ge=1)
    linkage: Literal["single", "complete"] = training(
        "single",
        "a proposal joins a clique by overlapping any member, to closure, or, as released, by overlapping every one, "
        "in a window of 40 of the proposals in their order",
        later=True,
    )
    rank: Literal["present", "all"] = training(
        "present", "* what ranks proposals for the partition: the best score over the present classes, or all"
    )
    model: Literal["entropy", "two-stream"] = training(
        "entropy",
        "what discovers cliques: the global min-entropy (Eq. 4-7), or WSDDN's two streams on the cliques' mean logits, "
        "proposals of no clique being one each (released)",
        later=True,
    )
    discovery: Literal["weighted", "plain"] = training(
        "weighted", "* Eq. 3's arg min: the clique of largest w p, as Eq. 5 weighs it, or of largest p, as printed"
    )
    localize: Literal["probability", "entropy", "image"] = training(
        "probability",
        "* Eq. 8's arg min, which needs the branch it trains: the clique's proposal of largest p in the discovery "
        "branch, or to the letter, that of least Eq. 9 in the localization branch; image: the whole image's proposal "
        "of largest p, whatever clique is discovered (released)",
    )
    branches: int = training(
        2, "localization branches; 0 leaves discovery alone, 2 is accumulated learning", ge=0, le=9
    )
    passes: int = training(2, "passes of recurrent learning (Alg. 1); 1: none; the loss is their mean", ge=1)
    aggregate: Literal["probability", "relative"] = training(
        "probability", "* what multiplies features: p of any object, or that divided by the image's largest"
    )
    background: bool = training(
        True,
        "* p(y, h) of localization: a softmax over classes and background for each proposal, proposals far from every "
        "seed being its hard negatives; false: one softmax over proposals and classes (Eq. 18), without negatives",
    )
    radius: float = training(0.5, "* IoU with h* from which a proposal is in its neighbourhood", gt=0, le=1)
    omega: Literal["clique", "image", "sample"] = training(
        "clique",
        "where neighbours and hard negatives come from: the seed's clique, as printed, or the whole image; sample: 32 "
        "of IoU >= .6 and 96 of .1-.4 are drawn from the whole image, with hard labels (released)",
    )
    kernel: Kernel = training("iou", "* Eq. 10: g applied proposal by proposal, or printed: one value for all")
    a: float = training(5.0, "* sharpness of the kernel exp(-a (1 - IoU)^2)", ge=0)
    negatives: float = training(
        3.0,
        "* weight of the hard negatives, all together, beside that of the neighbours (released: 96 beside 32)",
        ge=0,
    )
    absent: Literal["proposals", "cliques"] = training(
        "proposals",
        "* p(y, h) of Eq. 7: in one softmax over all proposals and classes (Eq. 18), or Eq. 4, once a clique",
        later=True,
    )
    lam: float = training(1.0, "* lambda of Eq. 1, weight of the local loss", ge=0)
    readout: str = prediction("l2", "branch whose scores are the prediction: d, l1, l2 ...", pattern="^(d|l[1-9])$")

    @model_validator(mode="after")
    def _readout_exists(self) -> MelmConfig:
        if self.readout != "d" and int(self.readout[1:]) > self.branches:
            raise ValueError(f"readout {self.readout} needs branches >= {self.readout[1:]}, but got {self.branches}")
        if self.omega == "sample" and not self.background:
            raise ValueError("omega=sample needs background=true: a part of the sample is background")
        return self


def _variant(branches: int, passes: int, readout: str, **more: Any) -> dict[str, Any]:
    return {"branches": branches, "passes": passes, "readout": readout, **more}


RELEASED = _variant(
    2,
    1,
    "l2",
    top=100,
    linkage="complete",
    rank="all",
    model="two-stream",
    localize="image",
    omega="sample",
    lam=0.1,
    difficult_labels="negative",
)
"""The released Lua code, run as its README does. Proposals are in the order of their coordinates; it shuffles them."""


class Pass(NamedTuple):
    """What one pass gives for the Y known classes.

    discovery: what the discovery branch gives, s(y, h) (R, Y), or logits of both streams (R, 2 Y). scores: (R, Y), by
    which it compares proposals. branches: of each localization branch log p(y, h) (R, Y), background after them.
    """

    discovery: Tensor
    scores: Tensor
    branches: list[Tensor]


class Melm(RegionMethod):
    """One discovery branch and several localization branches, linear on region features."""

    Config = MelmConfig
    variants: ClassVar = {
        "base": _variant(0, 1, "d", cliques=False),
        "base+clique": _variant(0, 1, "d"),
        "d": _variant(1, 1, "d"),
        "l": _variant(1, 1, "l1"),
        "d+rl": _variant(1, 2, "d"),
        "l+rl": _variant(1, 2, "l1"),
        "d+arl": _variant(2, 2, "d"),
        "l1+arl": _variant(2, 2, "l1"),
        "l2+arl": _variant(2, 2, "l2"),
        "released": RELEASED,
    }
    default_variant: ClassVar = "l2+arl"
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.0015, "tau": 0.4}}
    names: ClassVar = ("global", "absence", "local")
    config: MelmConfig

    def __init__(self, config: MelmConfig, task: Task) -> None:
        super().__init__(config, task)
        classes, width = len(task.classes), self.backbone.roi_channels
        self._two_streams = config.model == "two-stream"
        self.discovery = linear(width, classes * (2 if self._two_streams else 1))
        self.localization = nn.ModuleList(linear(width, classes + config.background) for _ in range(config.branches))

    def score(self, features: Tensor) -> Tensor:
        """p(y, h) of the read-out branch after the last pass (R, C)."""
        last = self._passes(features, torch.ones(len(self.task.classes), dtype=torch.bool, device=features.device))[-1]
        if self.config.readout == "d":
            return self._joint(last.discovery).exp()
        return last.branches[int(self.config.readout[1:]) - 1][:, : len(self.task.classes)].exp()

    def terms(self, features: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms of Eq. 7 (`global`, `absence`) and lambda times Eq. 11 (`local`).

        Each is the mean over the passes.
        """
        known = labels != 0
        present = labels[known] > 0
        passes = [self._losses(one, boxes, present) for one in self._passes(features, known)]
        entropy, absence, local = (torch.stack(terms).mean() for terms in zip(*passes, strict=True))
        return dict(zip(self.names, (entropy, absence, self.config.lam * local), strict=True))

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the layers of both kinds of branch, whose gradients Figure 8 b follows."""
        return {"global": list(self.discovery.parameters()), "local": list(self.localization.parameters())}

    def image_scores(self, scores: Tensor) -> Tensor:
        """Compute the best proposal's score, or, where p is one softmax over all proposals, their sum."""
        joint = self.config.readout == "d" or not self.config.background
        return scores.sum(dim=0).clamp(max=1) if joint else scores.amax(dim=0)

    def _passes(self, features: Tensor, known: Tensor) -> list[Pass]:
        """Recurrent learning (Alg. 1): features are multiplied by s(h) of the pass before, 1 at first."""
        passes: list[Pass] = []
        for _ in range(self.config.passes):
            weighted = features * self._objectness(passes[-1]) if passes else features
            branches = [self._log_p(branch(weighted), known) for branch in self.localization]
            discovery = self.discovery(weighted)[:, known.repeat(2) if self._two_streams else known].float()
            passes.append(Pass(discovery, self._joint(discovery) if self._two_streams else discovery, branches))
        return passes

    def _log_p(self, logits: Tensor, known: Tensor) -> Tensor:
        """log p(y, h) of a localization branch (R, Y), background last where there is one."""
        if not self.config.background:
            return joint_log_softmax(logits[:, known].float())
        return logits[:, torch.cat([known, known.new_ones(1)])].float().log_softmax(dim=1)

    def _joint(self, discovery: Tensor) -> Tensor:
        """log p(y, h) of the discovery branch (R, Y); of cliques, from their means (K, ...), log p(y, Hc)."""
        if self._two_streams:
            return two_stream_log_scores(*discovery.chunk(2, dim=1))
        return joint_log_softmax(discovery)

    def _objectness(self, last: Pass) -> Tensor:
        """s(h) (R, 1): the probability of any object in the last branch, a constant for the gradient."""
        p = (last.branches[-1] if last.branches else self._joint(last.discovery)).detach().exp()
        background = bool(last.branches) and self.config.background
        objectness = 1 - p[:, -1:] if background else p.sum(dim=1, keepdim=True)
        return objectness / objectness.amax() if self.config.aggregate == "relative" else objectness

    def _losses(self, one: Pass, boxes: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of one pass: both terms of Eq. 7, and Eq. 11 summed over the branches."""
        members, clique_of = self._partition(one.scores.detach(), boxes, present)
        names, means = min_entropy.clique_scores(one.discovery[members], clique_of[members])
        entropy, absence = self._image(one.discovery, means, present)
        local = entropy.new_zeros(())
        if not one.branches or not present.any():
            return entropy, absence, local
        inside = clique_of == self._discovered(names, means.detach(), present)[:, None]
        classes = present.nonzero()[:, 0]
        seeds = [self._localized(one, boxes, classes, inside)]
        for log_p in one.branches:
            local = local + self._local(log_p, boxes, together(seeds), clique_of)
            seeds.append(best_of_each(log_p.detach(), classes))
        return entropy, absence, local

    def _image(self, discovery: Tensor, means: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms of Eq. 7 from what the discovery branch gives of proposals, and its means over cliques.

        Of two streams: what the present and the absent classes add to the mean binary log loss.
        """
        if self._two_streams:
            losses = binary_log_loss(image_log_scores(self._joint(means)), torch.where(present, 1, -1)) / len(present)
            return losses[present].sum(), losses[~present].sum()
        bags = means if self.config.absent == "cliques" else discovery
        return (
            min_entropy.global_entropy(means)[present].sum(),
            min_entropy.absence(joint_log_softmax(bags))[~present].sum(),
        )

    def _partition(self, scores: Tensor, boxes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the proposals that discovery uses (n,), and every proposal's clique (R,), named by its first member.

        Proposals that are not partitioned are alone; the entropy model does not look at them, two streams do.
        """
        everything = torch.arange(len(boxes), device=boxes.device)
        if not self.config.cliques:
            return everything, everything
        considered = scores[:, present] if self.config.rank == "present" and present.any() else scores
        linkage = complete_linkage if self.config.linkage == "complete" else partition
        members, clique = linkage(boxes, considered.amax(dim=1), tau=self.config.tau, top=self.config.top)
        clique_of = everything.index_copy(0, members, members[clique])
        return everything if self._two_streams else members, clique_of

    def _discovered(self, names: Tensor, means: Tensor, present: Tensor) -> Tensor:
        """Names of the object cliques H* (S,), one a present class (Eq. 3)."""
        weighted = self.config.discovery == "weighted" and not self._two_streams
        log_p = min_entropy.weighted_log_p(means) if weighted else self._joint(means)
        return names[log_p[:, present].argmax(dim=0)]

    @torch.no_grad()
    def _localized(self, one: Pass, boxes: Tensor, classes: Tensor, inside: Tensor) -> Seeds:
        """Compute the object h* in each discovered clique (Eq. 8); inside: (S, R) bool, the cliques."""
        if self.config.localize == "image":
            return best_of_each(one.scores, classes)
        if self.config.localize == "probability":
            worth = one.scores[:, classes].T
            return Seeds(worth.masked_fill(~inside, -torch.inf).argmax(dim=1), classes)
        found = []
        for label, clique in zip(classes, inside, strict=True):
            inner = clique.nonzero()[:, 0]
            log_p, overlap = one.branches[0][inner, label], iou(boxes[inner], boxes[inner])
            entropy = min_entropy.entropy_around(
                log_p, overlap, radius=self.config.radius, a=self.config.a, kernel=self.config.kernel
            )
            found.append(inner[entropy.argmin()])
        return Seeds(torch.stack(found), classes)

    def _local(self, log_p: Tensor, boxes: Tensor, seeds: Seeds, clique_of: Tensor) -> Tensor:
        """Eq. 11 of one branch, divided by the sum of its labels, and its share of the loss of the hard negatives."""
        if self.config.omega == "sample":
            return sampled_loss(log_p, boxes, seeds)
        overlap, mine = assign(boxes, seeds)
        if self.config.omega == "clique":
            mine = mine & (clique_of == clique_of[seeds.proposal][:, None])
        near, far = mine & (overlap >= self.config.radius), mine & (overlap < self.config.radius)
        of_class = log_p[:, seeds.label].T
        labels = min_entropy.soft_labels(of_class.exp(), overlap, near, a=self.config.a, kernel=self.config.kernel)
        given = labels.sum().clamp(min=torch.finfo(labels.dtype).tiny)
        loss = min_entropy.local_entropy(of_class, labels).sum() / given
        if not (self.config.background and far.any()):
            return loss
        negative = -log_p[far.any(dim=0), -1].mean()
        return (loss + self.config.negatives * negative) / (1 + self.config.negatives)
