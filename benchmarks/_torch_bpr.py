"""BPR by the usual loop in PyTorch: embeddings, Adam, negatives that are not compared with the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR


class TorchBPR:
    """A model in training on the entries of users x items; the penalty is of mean squared lengths."""

    def __init__(self, x: CSR, factors: int, learning_rate: float, penalty: float = 0.0) -> None:
        self.of, self.seen = (torch.from_numpy(rows.astype(np.int64)) for rows in (x.row_index(), x.indices))
        self.users, self.items = (torch.nn.Embedding(n, factors) for n in x.shape)
        self.biases = torch.nn.Embedding(x.n_columns, 1)
        torch.nn.init.zeros_(self.biases.weight)
        for table in (self.users, self.items):
            torch.nn.init.normal_(table.weight, std=0.1 / factors**0.5)
        parameters = [one.weight for one in (self.users, self.items, self.biases)]
        self.optimizer, self.penalty = torch.optim.Adam(parameters, lr=learning_rate), penalty

    def epoch(self, batch_size: int, most: int | None = None) -> None:
        """Train on all entries in random order, or on the first batches of them."""
        for at in torch.randperm(len(self.of)).split(batch_size)[:most]:
            drawn = torch.randint(len(self.items.weight), (len(at),))
            u, i, j = self.users(self.of[at]), self.items(self.seen[at]), self.items(drawn)
            apart = (u * (i - j)).sum(1) + (self.biases(self.seen[at]) - self.biases(drawn)).squeeze(1)
            loss = torch.nn.functional.softplus(-apart).mean()
            if self.penalty:
                squares = (u.square().sum(1) + i.square().sum(1) + j.square().sum(1)).mean()
                loss = loss + self.penalty * squares
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def vectors(self) -> tuple[Float, Float]:
        """Of users and items, whose products are the scores."""
        users, items, biases = (one.weight.detach().numpy() for one in (self.users, self.items, self.biases))
        return np.hstack([users, np.ones((len(users), 1), np.float32)]), np.hstack([items, biases])
