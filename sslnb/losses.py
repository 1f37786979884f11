"""The two losses (notebooks 03 and 04; section 3.3 of the paper).

    >>> similarity = model(images, spectrograms)     # (B, B, h, w)
    >>> loss = contrastive_loss(similarity)          # invariance
    >>> loss += equivariance_loss(response_1, response_2, theta)

The masks σ(z) are never computed: a mean weighted by σ(z) is a softmax of log σ(z)
over the cells, which stays finite where every weight underflows.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslnb.augment import in_frame, warp


def weighted_mean(values: Tensor, logits: Tensor) -> Tensor:
    """Mean of `values` (…, h, w) over the cells, weighted by σ(logits): eq. 6.

    Σ σ(z) S / Σ σ(z) = Σ softmax(log σ(z)) S
    """
    weights = F.logsigmoid(logits).flatten(-2).softmax(-1)
    return (weights * values.flatten(-2)).sum(-1)


def contrastive_loss(
    similarity: Tensor,
    form: str = "release",
    epsilon: float = 0.65,
    epsilon_negative: float = 0.4,
    tau: float = 0.03,
    temperature: float = 0.07,
    own: Tensor | None = None,
    all_sum: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Contrastive loss with pseudo-masks, over all pairs of a batch.

    similarity (B, B, h, w): `[i, j]` is image i against sound j, cosines in
    [-1, 1]. Returns a scalar in float32.

    form="release" is the trimap cross-entropy of the released code. Cells above
    `epsilon` are foreground, cells below `epsilon_negative` background; those between
    are neither. Image i has B + 1 candidates: its foreground under its own sound,
    which has to win, its foreground under every other sound, and its background.

        P_i = mean of S_ii weighted by σ((S_ii − ε)/τ)
        s_ik = the same of S_ik,   N_i = mean of S_ii weighted by σ((ε_neg − S_ii)/τ)
        L_i = −log e^{P_i/T} / (e^{P_i/T} + Σ_{k≠i} e^{s_ik/T} + e^{N_i/T})

    T is the `temperature`.

    form="paper" is equations 5 to 8 to the letter: one threshold ε, no temperature,
    and a single exponent that sums the background and the unmasked means of the sound
    over all other images. `epsilon_negative` and `temperature` are not used.

    Processes that share a batch each hold the rows of their own images, (b, B, h, w).
    `own` (b,) is then the column of each row's own sound, and `all_sum` sums a tensor
    over the processes; the scalar is the mean over this process's rows.

    ValueError for an unknown form, another shape, or a batch of one, which has
    nothing to contrast with.
    """
    rows, batch = _rows_and_columns(similarity, own)
    similarity = similarity.float()
    row = torch.arange(rows, device=similarity.device)
    own = row if own is None else own
    response = similarity[row, own]  # (b, h, w)
    paired = own[:, None] == torch.arange(batch, device=similarity.device)  # (b, B)
    positive = weighted_mean(response, (response - epsilon) / tau)  # P (b,), eq. 5, 6

    if form == "paper":
        background = weighted_mean(response, -(response - epsilon) / tau)
        others = similarity.mean((-2, -1)).masked_fill(paired, 0)
        # S_{i→j} is sound i on image j (eq. 3), here [j, i]: the sum runs down a column
        negative = all_sum(others.sum(0))[own] + background  # N (b,), eq. 7
        return F.softplus(negative - positive).mean()  # eq. 8
    if form == "release":
        background = weighted_mean(response, -(response - epsilon_negative) / tau)
        others = weighted_mean(similarity, (similarity - epsilon) / tau)  # (b, B)
        others = others.masked_fill(paired, -torch.inf)
        logits = torch.cat([positive[:, None], others, background[:, None]], 1)
        target = torch.zeros(rows, dtype=torch.long, device=similarity.device)
        return F.cross_entropy(logits / temperature, target)
    raise ValueError(f"unknown form {form!r}; known are 'release' and 'paper'")


def attention_loss(
    similarity: Tensor, temperature: float = 0.07, own: Tensor | None = None
) -> Tensor:
    """Triplet loss of attended cells: the baseline "Attention" of tables 2 and 3.

    similarity (B, B, h, w) as in `contrastive_loss`. A sound attends to the cells of an
    image, and the image is as similar to it as these cells are on average:

        s_ij = Σ softmax(S_ij / T) S_ij,   d_ij = √(2 − 2 s_ij)

    Of image i, its own sound i is nearer than the next clip's:

        L_i = (e^{d_ii} / (e^{d_ii} + e^{d_ik}))²,   k = i + 1 (mod B)

    Attention and distances after Senocak et al. (CVPR 2018), the loss after Hoffer and
    Ailon (2015), up to a factor. They transform both embeddings by further layers, for
    which two encoders of one width have no need. Returns a scalar in float32.
    """
    rows, batch = _rows_and_columns(similarity, own)
    similarity = similarity.float()
    row = torch.arange(rows, device=similarity.device)
    own = row if own is None else own
    attended = (similarity / temperature).flatten(2).softmax(-1) * similarity.flatten(2)
    score = attended.sum(-1)  # s (b, B)
    pair = torch.stack([score[row, own], score[row, (own + 1) % batch]], 1)
    distance = (2 - 2 * pair).clamp(min=1e-6).sqrt()  # the root's slope is finite
    return distance.softmax(1)[:, 0].square().mean()


def _rows_and_columns(similarity: Tensor, own: Tensor | None) -> tuple[int, int]:
    """b and B of a similarity (b, B, h, w); ValueError for another shape."""
    shape = tuple(similarity.shape)
    if len(shape) != 4 or (own is None and shape[0] != shape[1]):
        raise ValueError(f"similarity has shape {shape}; need (B, B, h, w)")
    if shape[1] < 2:
        raise ValueError("a batch of one has no unpaired sound; use at least two clips")
    return shape[0], shape[1]


def equivariance_loss(
    response_1: Tensor,
    response_2: Tensor,
    theta: Tensor,
    all_sum: Callable[[Tensor], Tensor] = lambda x: x,
    mask_border: bool = True,
) -> Tensor:
    """Mean squared difference of branch 2's map and branch 1's transformed map: eq. 10.

    response_1, response_2 (B, h, w); theta (B, 2, 3), the transform of branch 2's
    images, as `augment.warp` takes it. Cells that lie out of frame before the
    transform, wholly or in part, do not count; if no cell is left, the loss is 0. With
    mask_border=False they count, as in the released code, which pulls them to 0.
    Gradients flow into both maps. Returns a scalar in float32.

    Where processes share a batch, `all_sum` sums a tensor over them.
    """
    if response_1.shape != response_2.shape or response_1.ndim != 3:
        raise ValueError(
            f"maps have shapes {tuple(response_1.shape)} and "
            f"{tuple(response_2.shape)}; need one shape (B, h, w)"
        )
    response_1, response_2 = response_1.float(), response_2.float()
    transformed = warp(response_1, theta)  # T_geo(response_1)
    inside = in_frame(theta, *response_1.shape[1:])
    if not mask_border:
        inside = torch.ones_like(inside)
    squares = (response_2 - transformed).square() * inside
    return all_sum(squares.sum()) / all_sum(inside.sum().float()).clamp(min=1)
