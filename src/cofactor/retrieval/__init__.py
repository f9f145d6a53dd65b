"""Nearest items of vectors by an index that is made once: exact, or approximate by a library."""

from __future__ import annotations

from cofactor.retrieval.ann import ApproximateIndex, InvertedLists
from cofactor.retrieval.exact import ExactIndex
from cofactor.retrieval.exports import Export, export
from cofactor.retrieval.models import indexed

__all__ = ["ApproximateIndex", "ExactIndex", "Export", "InvertedLists", "export", "indexed"]
