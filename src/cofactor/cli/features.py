"""Files of features, as options of the commands that fit models."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from cofactor.cli.tables import read_file
from cofactor.errors import ParameterError
from cofactor.models.base.fitting import options_of_fit

__all__ = ["FeatureFiles"]

_KIND = ".parquet, .csv, .jsonl or .arrow"


@dataclass(frozen=True)
class FeatureFiles:
    """What is known of items and of users besides events."""

    item_features: Annotated[
        Path | None,
        typer.Option(
            "--item-features",
            help=f"A row for each item_id and what is known of it, for models that learn from it: {_KIND}.",
        ),
    ] = None
    user_features: Annotated[Path | None, typer.Option("--user-features", help="The same of users, by user_id.")] = None

    def read(self) -> dict[str, pl.DataFrame]:
        """The tables that were given, as ``fit`` calls them."""
        given = {"item_features": self.item_features, "user_features": self.user_features}
        return {
            name: read_file(path, f"{name.removesuffix('_features')}_id")
            for name, path in given.items()
            if path is not None
        }

    def by_model(self, models: Mapping[str, Any]) -> dict[str, dict[str, pl.DataFrame]]:
        """The tables that each model learns from, by its name.

        Raises
        ------
        ParameterError
            There is a table that none learns from.
        """
        tables = self.read()
        known = {name: options_of_fit(model) for name, model in models.items()}
        for table in tables:
            if not any(table in names for names in known.values()):
                raise ParameterError(
                    f"--{table.replace('_', '-')}: {' and '.join(models)} {'learns' if len(models) == 1 else 'learn'} "
                    "nothing from it; leave it out, or take a model that does, such as sampled-mf"
                )
        return {name: {key: tables[key] for key in tables if key in names} for name, names in known.items()}
