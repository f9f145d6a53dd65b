"""``cofactor export``: a saved model for those who serve elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cofactor.cli.options import Json, ModelFolder
from cofactor.cli.output import print_facts, print_json
from cofactor.models.base.recommender import load
from cofactor.retrieval.exports import export as write

__all__ = ["export"]


class _To(StrEnum):
    PARQUET = "parquet"
    FAISS = "faiss"
    USEARCH = "usearch"
    ONNX = "onnx"


def export(
    *,
    model: ModelFolder,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    to: Annotated[
        _To,
        typer.Option(
            "--to",
            help="Tables of vectors; a faiss or usearch index of the items; or ONNX, of inner products or of "
            "histories times item-to-item weights.",
        ),
    ] = _To.PARQUET,
    as_json: Json = False,
) -> None:
    """Write a model for other libraries, and compare their lists with its own."""
    done = write(load(model), output, to.value)
    if as_json:
        print_json({"to": done.to, "files": [str(f) for f in done.files], "recall": done.recall, "users": done.users})
        return
    facts = {"written": ", ".join(str(file) for file in done.files)}
    print_facts(facts | {"checked": f"{done.recall:.2%} of the model's own lists of 10, over {done.users:,} users"})
