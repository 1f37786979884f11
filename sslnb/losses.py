"""The two losses (notebooks 03 and 04; section 3.3 of the paper).

    >>> similarity = model(images, spectrograms)     # (B, B, h, w)
    >>> loss = contrastive_loss(similarity)          # invariance
    >>> loss += equivariance_loss(response_1, response_2, theta)

Masks are never formed: a mean weighted by σ(z) is a softmax over cells of
log σ(z), which stays finite where every weight underflows.
"""

import torch
import torch.nn.functional as F

from sslnb.augment import warp


def weighted_mean(values, logits):
    """Mean of `values` (…, h, w) over cells, weighted by σ(logits): eq. 6.

        Σ σ(z) S / Σ σ(z) = Σ softmax(log σ(z)) S
    """
    weights = F.logsigmoid(logits).flatten(-2).softmax(-1)
    return (weights * values.flatten(-2)).sum(-1)


def contrastive_loss(
    similarity,
    form="release",
    epsilon=0.65,
    epsilon_negative=0.4,
    tau=0.03,
    temperature=0.07,
    own=None,
    total=lambda x: x,
):
    """Contrastive loss with pseudo-masks, over a batch of all pairs.

    similarity (B, B, h, w): `[i, j]` is image i against sound j, cosines in
    [-1, 1]. Returns a scalar in float32.

    Where several processes share a batch, each has the rows of its own images,
    (b, B, h, w): `own` (b,) then says which column is each row's own sound, `total`
    sums a tensor over the processes, and the scalar is the mean over these rows.

    form="release", the trimap cross-entropy of the released code: cells above
    `epsilon` are foreground, below `epsilon_negative` background, between them
    neither. Each image has B + 1 candidates for its own foreground to beat: its
    response to every other sound, each under its own mask, and its own background.

        P_i = ⟨σ((S_ii − ε)/τ)⟩-weighted mean of S_ii,   T = `temperature`
        L_i = −log e^{P_i/T} / (e^{P_i/T} + Σ_{k≠i} e^{s_ik/T} + e^{N_i/T})

    form="paper", equations 5 to 8 to the letter: one threshold ε, the unmasked
    means over the other images and the background summed inside one exponent,
    no temperature. S_{i→j} is sound i on image j there (eq. 3), `[j, i]` here.
    `epsilon_negative` and `temperature` have no part in it.

    Raises ValueError for another form or shape, and for a batch of one, which
    has nothing to be contrasted with.
    """
    if similarity.ndim != 4 or own is None and similarity.shape[0] != similarity.shape[1]:
        raise ValueError(
            f"similarity has shape {tuple(similarity.shape)}; need (B, B, h, w)"
        )
    rows, batch = similarity.shape[:2]
    if batch < 2:
        raise ValueError("a batch of one has no unpaired sound; use at least two clips")
    similarity = similarity.float()
    row = torch.arange(rows, device=similarity.device)
    own = row if own is None else own
    response = similarity[row, own]  # (b, h, w)
    paired = own[:, None] == torch.arange(batch, device=similarity.device)
    positive = weighted_mean(response, (response - epsilon) / tau)  # (b,)

    if form == "paper":
        background = weighted_mean(response, -(response - epsilon) / tau)
        others = similarity.mean((-2, -1)).masked_fill(paired, 0).sum(0)  # over images
        return F.softplus(total(others)[own] + background - positive).mean()
    if form == "release":
        background = weighted_mean(response, -(response - epsilon_negative) / tau)
        others = weighted_mean(similarity, (similarity - epsilon) / tau)  # (b, B)
        others = others.masked_fill(paired, -torch.inf)
        columns = torch.cat([positive[:, None], others, background[:, None]], 1)
        target = torch.zeros(rows, dtype=torch.long, device=similarity.device)
        return F.cross_entropy(columns / temperature, target)
    raise ValueError(f"unknown form {form!r}; known are 'release' and 'paper'")


def equivariance_loss(response_1, response_2, theta, total=lambda x: x):
    """Mean square between branch 2's map and branch 1's map moved by theta: eq. 10.

    response_1, response_2 (B, h, w); theta (B, 2, 3) as `augment.warp` takes it,
    the one that moved branch 2's images. Cells whose content the warp brings in
    from outside of the frame, wholly or in part, do not count; where no cell is
    left the loss is 0. Gradients flow into both maps. Returns a float32 scalar.
    Where several processes share a batch, `total` sums a tensor over them.
    """
    if response_1.shape != response_2.shape or response_1.ndim != 3:
        raise ValueError(
            f"maps have shapes {tuple(response_1.shape)} and "
            f"{tuple(response_2.shape)}; need one shape (B, h, w)"
        )
    response_1, response_2 = response_1.float(), response_2.float()
    moved = warp(response_1, theta)
    inside = warp(torch.ones_like(response_1), theta) > 1 - 1e-3
    squares = (response_2 - moved).square() * inside
    return total(squares.sum()) / total(inside.sum().float()).clamp(min=1)
