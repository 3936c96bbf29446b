"""Rank tokens by what flows to them over a graph of alike tokens (G-Prune).

G-Prune, arXiv 2501.02268 (AAAI 2025); released as jytmelon/G-Prune, for LLaVA-NeXT. The base view of a picture and its
tiles, as one picture, are a graph each: edges are cosines of projected tokens, softmaxed row by row, and what flows is
a token's norm.
"""

from collections.abc import Iterator

import torch

from llava.reduction.rules.basics import choice, cosines

ZERO, NOWHERE = 1e-6, -5000.0  # what counts as no edge, and what stands for it in the softmax


@choice
def graph_scores(tokens: torch.Tensor, similarity: float, temperature: float, steps: int) -> torch.Tensor:
    """What reaches each token after `steps` steps, divided by how many tokens it is alike.

    As the power of the graph is only multiplied by the norms, it is never made: each step is one row of numbers.

    Args:
        tokens: (G, n, D), G graphs of n tokens each.
        similarity: cosines below it are no edge.

    Returns:
        (G, n) float32.
    """
    edges = cosines(tokens)
    edges = edges.masked_fill_(edges < similarity, 0).div_(temperature)
    graph = edges.masked_fill_(edges.abs() < ZERO, NOWHERE).softmax(dim=-1)
    flow = tokens.float().norm(dim=-1)[:, None]
    for _ in range(steps):
        flow = flow @ graph
    return flow[:, 0] / (graph > 0).sum(dim=-1)


def graphs_of(parts: torch.Tensor) -> Iterator[torch.Tensor]:
    """Where the tokens of each graph stand, those of as many tokens together.

    Args:
        parts: (I, n) int64 on the CPU, the number of the part of its image that a token belongs to; below zero: none.

    Yields:
        (G, m) int64 on the CPU, places among all I * n tokens, rising.
    """
    own = parts + torch.arange(len(parts))[:, None] * (parts.max() + 1)
    places = (parts >= 0).flatten().nonzero()[:, 0]
    owners = own.flatten()[places]
    sizes = owners.unique(return_counts=True)[1].tolist()
    graphs = places[owners.argsort(stable=True)].split(sizes)
    for size in sorted(set(sizes)):
        yield torch.stack([graph for graph in graphs if len(graph) == size])
