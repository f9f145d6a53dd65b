"""Draw the packages of cofactor and what they import, from the imports themselves.

python docs/draw_architecture.py   # writes docs/images/architecture.svg; a test says when that is not current
"""

from __future__ import annotations

import ast
import re
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "cofactor"
PICTURE = Path(__file__).parent / "images" / "architecture.svg"
INSIDE = {"models"}  # packages whose own packages are shown
LEFT_OUT = {"version"}  # one number, which every box may read
WIDTH, BOX, GAP, HEIGHT, PITCH = 1060, 220, 24, 74, 112


def sources() -> dict[str, Path]:
    """Every module by its dotted name."""
    files = sorted(ROOT.rglob("*.py"))
    return {".".join(f.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def place(module: str) -> str:
    """The box that a module is drawn in; the face is a box of its own."""
    return [*module.split("."), "face"][1]


def graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """Which boxes import which, counting imports for types and inside functions."""
    edges: dict[str, set[str]] = {place(module): set() for module in files}
    for module, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("cofactor"):
                continue
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                name = name if name in files else str(node.module)
                edges[place(module)].add(place(name))
    return {box: others - {box, *LEFT_OUT} for box, others in edges.items() if box not in LEFT_OUT}


def heights(edges: dict[str, set[str]]) -> dict[str, int]:
    """How far above the ground every box stands: one above the highest that it imports."""
    found: dict[str, int] = {}

    def height(box: str) -> int:
        if box not in found:
            found[box] = 1 + max(map(height, edges[box]), default=-1)
        return found[box]

    for box in edges:
        height(box)
    return found


def nearest(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports that no other import implies."""

    def reached(box: str) -> set[str]:
        return edges[box].union(*map(reached, edges[box]))

    return {box: {o for o in others if not any(o in reached(p) for p in others)} for box, others in edges.items()}


def sentence(box: str, files: dict[str, Path]) -> str:
    """What a box says of itself: the first sentence of its docstring."""
    module = "cofactor" if box == "face" else f"cofactor.{box}"
    text = (ast.get_docstring(ast.parse(files[module].read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    plain = " ".join(re.sub(r":\w+:|`", "", text).split())
    return plain.split(". ")[0].rstrip(".")


def draw() -> str:
    """The picture, as SVG."""
    files = sources()
    edges = graph(files)
    level = heights(edges)
    rows = [sorted(b for b in level if level[b] == h) for h in range(max(level.values()) + 1)]
    at = {}
    for h, row in enumerate(rows):
        left = (WIDTH - len(row) * BOX - (len(row) - 1) * GAP) / 2
        for n, box in enumerate(row):
            at[box] = (left + n * (BOX + GAP), 20 + (len(rows) - 1 - h) * PITCH)
    arrows = [_arrow(at[box], at[other]) for box, others in sorted(nearest(edges).items()) for other in sorted(others)]
    boxes = [_box(box, *at[box], sentence(box, files), _inside(box, files)) for box in sorted(at)]
    height = 20 + len(rows) * PITCH - (PITCH - HEIGHT) + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="system-ui, sans-serif" font-size="11" fill="#1f2933">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0L8,4L0,8z" fill="#7b8794"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _inside(box: str, files: dict[str, Path]) -> list[str]:
    if box not in INSIDE:
        return []
    return sorted({m.split(".")[2] for m in files if m.startswith(f"cofactor.{box}.")})


def _arrow(begin: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = begin[0] + BOX / 2, begin[1] + HEIGHT
    x2, y2 = end[0] + BOX / 2, end[1]
    bend = (y2 - y1) / 2
    path = f"M{x1:g},{y1:g}C{x1:g},{y1 + bend:g} {x2:g},{y2 - bend:g} {x2:g},{y2:g}"
    return f'<path d="{path}" fill="none" stroke="#9aa5b1" marker-end="url(#tip)"/>'


def _box(name: str, x: float, y: float, text: str, inside: list[str]) -> str:
    shown = "import cofactor" if name == "face" else name
    lines = textwrap.wrap(", ".join(inside) if inside else text, 36)[:3]
    texts = [f'<text x="{x + 10:g}" y="{y + 20:g}" font-size="13" font-weight="600">{escape(shown)}</text>']
    texts += [
        f'<text x="{x + 10:g}" y="{y + 36 + 13 * n:g}" fill="#52606d">{escape(line)}</text>'
        for n, line in enumerate(lines)
    ]
    frame = f'<rect x="{x:g}" y="{y:g}" width="{BOX}" height="{HEIGHT}" rx="5" fill="#f5f7fa" stroke="#9aa5b1"/>'
    return "\n".join([frame, *texts])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE)
