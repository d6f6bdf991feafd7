"""MELM: min-entropy latent model over proposal cliques, trained recurrently (Wan et al., TPAMI 2019).

It follows the paper's equations. A discovery branch minimises the global entropy of cliques (Eq. 4-7); localization
branches minimise the local entropy around the object found in the discovered clique (Eq. 8-11); recurrent learning
multiplies features by the object probability of the previous pass (Alg. 1); accumulated learning seeds a branch with
the objects of all earlier branches. Each choice that the paper leaves open is a field of `MelmConfig` with a documented
default.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import model_validator
from torch import Tensor, nn

from bench.method import ProposalConfig, Range, Task, prediction, training
from methods.layers import min_entropy
from methods.layers.boxes import iou
from methods.layers.cliques import partition, partition_complete_linkage
from methods.layers.losses import binary_log_loss
from methods.layers.min_entropy import Kernel, joint_log_softmax
from methods.layers.pseudo import Seeds, assign, concat_seeds, select_best_per_class
from methods.layers.region_method import RegionMethod, make_linear
from methods.layers.sampled import sampled_loss
from methods.layers.wsddn import image_log_scores, two_stream_log_scores


class MelmConfig(ProposalConfig):
    """Settings of MELM. `*`: left open by the paper; the default is our reading."""

    cliques: bool = training(
        True, "partition proposals into cliques; false: each proposal is its own clique (MELM-base)"
    )
    lr: float = training(0.001, "learning rate", gt=0, search=Range(3e-5, 1e-3, log=True))
    tau: float = training(
        0.7, "IoU above which proposals share a clique (Table 2)", ge=0, le=1, search=(0.1, 0.3, 0.5, 0.7)
    )
    top: int = training(200, "number of best proposals that are partitioned into cliques", ge=1)
    linkage: Literal["single", "complete"] = training(
        "single",
        "single: a proposal joins a clique if it overlaps any member, to closure; complete: if it overlaps them all, "
        "within a window of 40 proposals in their order (released)",
        later=True,
    )
    rank: Literal["present", "all"] = training(
        "present", "* score that ranks proposals for the partition: the best over the present classes, or over all"
    )
    model: Literal["entropy", "two-stream"] = training(
        "entropy",
        "discovery model: global min-entropy (Eq. 4-7), or WSDDN's two streams on the cliques' mean logits, where a "
        "proposal outside all cliques is its own clique (released)",
        later=True,
    )
    discovery: Literal["weighted", "plain"] = training(
        "weighted", "* arg min of Eq. 3: the clique of largest w p, as weighted in Eq. 5, or of largest p, as printed"
    )
    localize: Literal["probability", "entropy", "image"] = training(
        "probability",
        "* arg min of Eq. 8, which depends on the branch it trains; probability: the clique's proposal of largest p in "
        "the discovery branch; entropy: literally, the one of least Eq. 9 in the localization branch; image: the "
        "proposal of largest p in the whole image (released)",
    )
    branches: int = training(
        2, "number of localization branches; 0: discovery only, 2: accumulated learning", ge=0, le=9
    )
    passes: int = training(
        2, "passes of recurrent learning (Alg. 1), whose losses are averaged; 1: no recurrence", ge=1
    )
    aggregate: Literal["probability", "relative"] = training(
        "probability",
        "* factor of the features: the probability of any object, or its ratio to the largest of the image",
    )
    recurrence: float = training(
        1.0,
        "weight r of that factor s in a further pass, whose features are multiplied by (1 - r) + r s; 1: Alg. 1 as "
        "printed (released: 0.5, annealed)",
        ge=0,
        le=1,
        later=True,
    )
    background: bool = training(
        True,
        "* p(y, h) of localization: a softmax over classes and background for each proposal, with proposals far from "
        "every seed as hard negatives; false: one softmax over proposals and classes (Eq. 18), without negatives",
    )
    radius: float = training(0.5, "* minimum IoU with h* of the proposals in its neighbourhood", gt=0, le=1)
    omega: Literal["clique", "image", "sample"] = training(
        "clique",
        "source of neighbours and hard negatives: the seed's clique, as printed, or the whole image; sample: draw 32 "
        "of IoU >= .6 and 96 of IoU .1-.4 from the whole image, with hard labels (released)",
    )
    kernel: Kernel = training("iou", "* kernel g of Eq. 10: applied to each proposal, or as printed, one value for all")
    a: float = training(5.0, "* sharpness of the kernel exp(-a (1 - IoU)^2)", ge=0)
    negatives: float = training(
        3.0,
        "* total weight of the hard negatives relative to the neighbours (released: 96 to 32)",
        ge=0,
    )
    absent: Literal["proposals", "cliques"] = training(
        "proposals",
        "* p(y, h) of Eq. 7: from one softmax over all proposals and classes (Eq. 18), or from Eq. 4, once per clique",
        later=True,
    )
    local_loss: Literal["mean", "printed", "proposals"] = training(
        "mean",
        "Eq. 11, mean: divided by the sum of its labels, so that unsure seeds pull as hard as sure ones; printed: as "
        "printed, so that the pull of a seed is in proportion to its p; proposals: as printed, with hard negatives "
        "weighted by w_h p of Eq. 10 like neighbours, and averaged over all proposals of Omega",
        later=True,
    )
    lam: float = training(1.0, "* lambda of Eq. 1, the weight of the local loss", ge=0, search=Range(0.1, 10, log=True))
    readout: str = prediction(
        "l2",
        "branch whose scores are predicted: d, l1, l2 ..., or mean: the mean of all localization branches (released)",
        pattern="^(d|mean|l[1-9])$",
    )

    @model_validator(mode="after")
    def _readout_exists(self) -> MelmConfig:
        needed = {"d": 0, "mean": 1}[self.readout] if self.readout in ("d", "mean") else int(self.readout[1:])
        if needed > self.branches:
            raise ValueError(f"readout {self.readout} needs branches >= {needed}, but got {self.branches}")
        if self.omega == "sample" and not self.background:
            raise ValueError("omega=sample needs background=true, because the sample includes background")
        return self


def _variant(branches: int, passes: int, readout: str, **more: Any) -> dict[str, Any]:
    return {"branches": branches, "passes": passes, "readout": readout, **more}


READING = {"background": False, "aggregate": "relative"}
"""Eq. 9 uses p(y, h) of Eq. 18, like discovery; localization then outperforms discovery (docs/studies/melm.md)."""

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
"""The released Lua code, run as in its README, except that proposals are sorted by coordinates, not shuffled."""


class Pass(NamedTuple):
    """Outputs of one pass for the Y known classes.

    discovery: output of the discovery branch, s(y, h) (R, Y), or the logits of both streams (R, 2 Y). scores: (R, Y),
    used to compare proposals. branches: log p(y, h) (R, Y) of each localization branch, with background last.
    """

    discovery: Tensor
    scores: Tensor
    branches: list[Tensor]


class Melm(RegionMethod):
    """A discovery branch and several localization branches, each a linear layer on region features."""

    Config = MelmConfig
    variants: ClassVar = {
        "base": _variant(0, 1, "d", cliques=False),
        "base+clique": _variant(0, 1, "d"),
        "d": _variant(1, 1, "d", **READING),
        "l": _variant(1, 1, "l1", **READING),
        "d+rl": _variant(1, 2, "d", **READING),
        "l+rl": _variant(1, 2, "l1", **READING),
        "d+arl": _variant(2, 2, "d", **READING),
        "l1+arl": _variant(2, 2, "l1", **READING),
        "l2+arl": _variant(2, 2, "l2", **READING),
        "arl": _variant(2, 2, "mean", **READING),
        "negatives": _variant(2, 2, "l2"),
        "released": RELEASED,
    }
    default_variant: ClassVar = "arl"
    recipes: ClassVar = {"shapes": {"epochs": 20, "batch_size": 2, "lr": 0.0015, "tau": 0.4}}
    names: ClassVar = ("global", "absence", "local")
    config: MelmConfig

    def __init__(self, config: MelmConfig, task: Task) -> None:
        super().__init__(config, task)
        classes, width = len(task.classes), self.backbone.roi_channels
        self._two_streams = config.model == "two-stream"
        self.discovery = make_linear(width, classes * (2 if self._two_streams else 1))
        self.localization = nn.ModuleList(
            make_linear(width, classes + config.background) for _ in range(config.branches)
        )

    def score(self, features: Tensor) -> Tensor:
        """Compute p(y, h) (R, C) of the read-out branch after the last pass."""
        last = self._run_passes(features, torch.ones(len(self.task.classes), dtype=torch.bool, device=features.device))[
            -1
        ]
        if self.config.readout == "d":
            return self._combine_streams(last.discovery).exp()
        if self.config.readout == "mean":
            return torch.stack(last.branches).exp().mean(dim=0)[:, : len(self.task.classes)]
        return last.branches[int(self.config.readout[1:]) - 1][:, : len(self.task.classes)].exp()

    def terms(self, features: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms of Eq. 7 (`global`, `absence`) and lambda times Eq. 11 (`local`).

        Each is the mean over the passes.
        """
        known = labels != 0
        present = labels[known] > 0
        passes = [self._losses(outputs, boxes, present) for outputs in self._run_passes(features, known)]
        entropy, absence, local = (torch.stack(terms).mean() for terms in zip(*passes, strict=True))
        return dict(zip(self.names, (entropy, absence, self.config.lam * local), strict=True))

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of both kinds of branch, whose gradients are shown in Figure 8 b."""
        return {"global": list(self.discovery.parameters()), "local": list(self.localization.parameters())}

    def image_scores(self, scores: Tensor) -> Tensor:
        """Compute the best proposal's score, or the sum over proposals if p is a single softmax over them all."""
        joint = self.config.readout == "d" or not self.config.background
        return scores.sum(dim=0).clamp(max=1) if joint else scores.amax(dim=0)

    def _run_passes(self, features: Tensor, known: Tensor) -> list[Pass]:
        """Run the passes of recurrent learning (Alg. 1), each on features multiplied by s(h) of the previous one."""
        passes: list[Pass] = []
        for _ in range(self.config.passes):
            weighted = features * self._weigh(passes[-1]) if passes else features
            branches = [self._log_p(branch(weighted), known) for branch in self.localization]
            discovery = self.discovery(weighted)[:, known.repeat(2) if self._two_streams else known].float()
            passes.append(
                Pass(discovery, self._combine_streams(discovery) if self._two_streams else discovery, branches)
            )
        return passes

    def _log_p(self, logits: Tensor, known: Tensor) -> Tensor:
        """Compute log p(y, h) (R, Y) of a localization branch, with background last if it has one."""
        if not self.config.background:
            return joint_log_softmax(logits[:, known].float())
        return logits[:, torch.cat([known, known.new_ones(1)])].float().log_softmax(dim=1)

    def _combine_streams(self, discovery: Tensor) -> Tensor:
        """Compute the discovery branch's log p(y, h) (R, Y), or, given means of cliques (K, ...), log p(y, Hc)."""
        if self._two_streams:
            return two_stream_log_scores(*discovery.chunk(2, dim=1))
        return joint_log_softmax(discovery)

    def _weigh(self, last: Pass) -> Tensor:
        """Compute the factors (R, 1) by which the next pass multiplies features."""
        share = self.config.recurrence
        objectness = self._objectness(last)
        return objectness if share == 1 else 1 - share + share * objectness

    def _objectness(self, last: Pass) -> Tensor:
        """Compute s(h) (R, 1), the last branch's detached probability of any object."""
        p = (last.branches[-1] if last.branches else self._combine_streams(last.discovery)).detach().exp()
        background = bool(last.branches) and self.config.background
        objectness = 1 - p[:, -1:] if background else p.sum(dim=1, keepdim=True)
        return objectness / objectness.amax() if self.config.aggregate == "relative" else objectness

    def _losses(self, outputs: Pass, boxes: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute both terms of Eq. 7 for one pass, and Eq. 11 summed over its branches."""
        members, clique_of = self._partition(outputs.scores.detach(), boxes, present)
        names, means = min_entropy.clique_scores(outputs.discovery[members], clique_of[members])
        entropy, absence = self._global_loss(outputs.discovery, means, present)
        local = entropy.new_zeros(())
        if not outputs.branches or not present.any():
            return entropy, absence, local
        inside = clique_of == self._discover(names, means.detach(), present)[:, None]
        classes = present.nonzero()[:, 0]
        seeds = [self._localize(outputs, boxes, classes, inside)]
        for log_p in outputs.branches:
            local = local + self._local_loss(log_p, boxes, concat_seeds(seeds), clique_of)
            seeds.append(select_best_per_class(log_p.detach(), classes))
        return entropy, absence, local

    def _global_loss(self, discovery: Tensor, means: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both terms of Eq. 7 from the discovery branch's outputs and their means over cliques.

        With two streams, these are the present and the absent classes' parts of the mean binary log loss.
        """
        if self._two_streams:
            losses = binary_log_loss(image_log_scores(self._combine_streams(means)), torch.where(present, 1, -1)) / len(
                present
            )
            return losses[present].sum(), losses[~present].sum()
        bags = means if self.config.absent == "cliques" else discovery
        return (
            min_entropy.global_entropy(means)[present].sum(),
            min_entropy.absence(joint_log_softmax(bags))[~present].sum(),
        )

    def _partition(self, scores: Tensor, boxes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the proposals that discovery uses (n,), and each proposal's clique (R,) as its first member's index.

        A proposal left out of the partition is its own clique; only the two-stream model uses such proposals.
        """
        everything = torch.arange(len(boxes), device=boxes.device)
        if not self.config.cliques:
            return everything, everything
        considered = scores[:, present] if self.config.rank == "present" and present.any() else scores
        linkage = partition_complete_linkage if self.config.linkage == "complete" else partition
        members, clique = linkage(boxes, considered.amax(dim=1), tau=self.config.tau, top=self.config.top)
        clique_of = everything.index_copy(0, members, members[clique])
        return everything if self._two_streams else members, clique_of

    def _discover(self, names: Tensor, means: Tensor, present: Tensor) -> Tensor:
        """Select the object clique H* of each present class (Eq. 3); returns their first members (S,)."""
        weighted = self.config.discovery == "weighted" and not self._two_streams
        log_p = min_entropy.weighted_log_p(means) if weighted else self._combine_streams(means)
        return names[log_p[:, present].argmax(dim=0)]

    @torch.no_grad()
    def _localize(self, outputs: Pass, boxes: Tensor, classes: Tensor, inside: Tensor) -> Seeds:
        """Select the object h* in each discovered clique (Eq. 8); inside: (S, R) bool, the cliques' members."""
        if self.config.localize == "image":
            return select_best_per_class(outputs.scores, classes)
        if self.config.localize == "probability":
            class_scores = outputs.scores[:, classes].T
            return Seeds(class_scores.masked_fill(~inside, -torch.inf).argmax(dim=1), classes)
        objects = []
        for label, clique in zip(classes, inside, strict=True):
            inner = clique.nonzero()[:, 0]
            log_p, overlap = outputs.branches[0][inner, label], iou(boxes[inner], boxes[inner])
            entropy = min_entropy.entropy_around(
                log_p, overlap, radius=self.config.radius, a=self.config.a, kernel=self.config.kernel
            )
            objects.append(inner[entropy.argmin()])
        return Seeds(torch.stack(objects), classes)

    def _local_loss(self, log_p: Tensor, boxes: Tensor, seeds: Seeds, clique_of: Tensor) -> Tensor:
        """Compute Eq. 11 for one branch, in the form set by `local_loss`, plus the loss of hard negatives."""
        if self.config.omega == "sample":
            return sampled_loss(log_p, boxes, seeds)
        overlap, mine = assign(boxes, seeds)
        if self.config.omega == "clique":
            mine = mine & (clique_of == clique_of[seeds.proposal][:, None])
        near, far = mine & (overlap >= self.config.radius), mine & (overlap < self.config.radius)
        of_class = log_p[:, seeds.label].T
        if self.config.local_loss == "proposals":
            return self._average_over_proposals(of_class, log_p, overlap, near, far)
        labels = min_entropy.soft_labels(of_class.exp(), overlap, near, a=self.config.a, kernel=self.config.kernel)
        loss = min_entropy.local_entropy(of_class, labels).sum()
        if self.config.local_loss == "mean":
            loss = loss / labels.sum().clamp(min=torch.finfo(labels.dtype).tiny)
        if not (self.config.background and far.any()):
            return loss
        negative = -log_p[far.any(dim=0), -1].mean()
        return (loss + self.config.negatives * negative) / (1 + self.config.negatives)

    def _average_over_proposals(
        self, of_class: Tensor, log_p: Tensor, overlap: Tensor, near: Tensor, far: Tensor
    ) -> Tensor:
        """Compute the mean over Omega of Eq. 11 and of the negatives' loss, weighted by their seeds' w_h p (Eq. 10).

        of_class: (S, R), the columns of log_p (R, Y) for the seeds' classes. near, far: (S, R) bool, disjoint.
        """
        a, p = self.config.a, of_class.exp()
        labels = min_entropy.soft_labels(p, overlap, near, a=a, kernel=self.config.kernel)
        loss = min_entropy.local_entropy(of_class, labels).sum()
        if self.config.background:
            worth = min_entropy.neighbourhood_mean(p, min_entropy.gaussian_kernel(overlap, a) * near).detach()
            loss = loss - (worth[:, None] * far * log_p[:, -1]).sum()
        return loss / (near | far).sum().clamp(min=1)
