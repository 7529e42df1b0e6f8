"""The structure of the code, counted over its syntax trees: words that bindings are called by, circles, imports inside functions, ways through it.

    make bench-structure           (benchmarks/structure.py [--smoke])

It reads the packages of the product; nothing is imported or run.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median

ROOT = Path(__file__).parents[1]
PACKAGES = ("core", "models", "registry", "validation", "pipelines", "vortex_cli", "jetson")
VAGUE = frozenset({"found", "one", "made", "said", "left", "known", "wanted", "chosen", "shown", "asked", "told", "kept", "given"})
"""Words that say what happened to a value instead of what it is."""

SPINE = (
    ("vortex_cli/main.py", "main"),
    ("vortex_cli/commands/train.py", "train"),
    ("pipelines/train/driver/run.py", "train"),
    ("pipelines/train/worker/loop.py", "train_step"),
)
WAYS = {
    "command to optimizer step": SPINE,
    "the same with batch, loss and optimizer": (
        *SPINE,
        ("pipelines/train/worker/batches.py", "Batches"),
        ("pipelines/train/worker/learner.py", "Learner"),
        ("pipelines/train/worker/optimizer.py", "make_optimizer"),
        ("models/losses.py", "MultiTaskLoss"),
    ),
    "one promotion": (
        ("vortex_cli/commands/promote.py", "promote"),
        ("pipelines/ship/promote.py", "promote"),
        ("pipelines/ship/evidence.py", "gather"),
        ("validation/promotion/policies.py", "PromotionPolicy"),
        ("validation/promotion/gates/__init__.py", "judge"),
        ("registry/stages.py", "record_promotion"),
        ("registry/events/channel.py", "ChannelPromoted"),
    ),
}
"""The files that a person opens, in order, and what to look at in each; a test holds every entry to the code."""


@dataclass(frozen=True)
class Source:
    """One Python file of the product."""

    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @property
    def module(self) -> str:
        """Its dotted name."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        parts = parts[1:] if parts[0] == "jetson" else parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def bindings(self) -> Iterator[str]:
        """Every name that the file binds: variables, parameters, loop variables, functions and classes."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.arg):
                yield node.arg
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)) and node.name:
                yield node.name

    @cached_property
    def imports(self) -> list[tuple[str, bool]]:
        """Modules that the file imports, and whether inside a function; imports for types alone do not count."""
        found: list[tuple[str, bool]] = []
        stack: list[tuple[ast.AST, bool]] = [(self.tree, False)]
        while stack:
            node, inside = stack.pop()
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.Import):
                found += ((alias.name, inside) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found += ((f"{node.module}.{alias.name}", inside) for alias in node.names)
            elif not isinstance(node, ast.expr):
                within = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                stack.extend((child, within) for child in ast.iter_child_nodes(node))
        return found


def sources() -> list[Source]:
    """The files of the product: an environment inside a package (`.venv`) is somebody else's."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [Source(path) for path in paths if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


def vague_names(files: list[Source]) -> tuple[Counter[str], int]:
    """Bindings that are called by a vague word, by word, and how many bindings there are."""
    names = [name for source in files for name in source.bindings()]
    return Counter(name for name in names if name.strip("_") in VAGUE), len(names)


def own_import(name: str, modules: frozenset[str]) -> str | None:
    """The module of the product that an import names, or None."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def late_imports(files: list[Source]) -> list[tuple[str, str]]:
    """(Importer, imported module) of each import of the product's own modules inside a function; commands, which have them on purpose, left out."""
    modules = frozenset(source.module for source in files)
    return [
        (source.module, module)
        for source in files
        if "commands" not in source.path.parts
        for name, inside in source.imports
        if inside and (module := own_import(name, modules))
    ]


def circles(files: list[Source]) -> list[list[str]]:
    """Groups of files that import each other in a loop, imports inside functions included."""
    modules = frozenset(source.module for source in files)
    graph: dict[str, set[str]] = {}
    for source in files:
        targets = {own_import(name, modules) for name, _ in source.imports}
        graph[source.module] = {target for target in targets if target and target != source.module}
    return sorted(component for component in _components(graph) if len(component) > 1)


def _components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan 1972), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components = []
    for root in graph:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        work = [(root, iter(sorted(graph[root])))]
        while work:
            node, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    cut = stack.index(node)
                    components.append(sorted(stack[cut:]))
                    del stack[cut:]
            elif target not in index:
                index[target] = low[target] = len(index)
                stack.append(target)
                work.append((target, iter(sorted(graph.get(target, ())))))
            elif target in stack:
                low[node] = min(low[node], index[target])
    return components


def repeated_module_names(files: list[Source]) -> dict[str, list[str]]:
    """Names that several modules bear, packages' own files and commands left out (a command bears the name of what it calls)."""
    by_name: dict[str, list[str]] = {}
    for source in files:
        if source.path.name != "__init__.py" and "commands" not in source.path.parts:
            by_name.setdefault(source.path.stem, []).append(source.module)
    return {name: modules for name, modules in sorted(by_name.items()) if len(modules) > 1}


def main() -> None:
    """Print the figures; `--smoke` is the same, since they take two seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="the same: it takes two seconds")
    parser.parse_args()
    files = sources()
    vague, bindings = vague_names(files)
    lengths = [len(source.path.read_text(encoding="utf-8").splitlines()) for source in files]
    print(
        f"files {len(files)}, lines {sum(lengths)}, a file: mean {mean(lengths):.0f}, median {median(lengths):.0f}, largest {max(lengths)}"
    )
    print(
        f"vague bindings {vague.total()} of {bindings} ({vague.total() / bindings:.1%}): {', '.join(f'{k} {v}' for k, v in vague.most_common(8))}"
    )
    late = late_imports(files)
    print(f"imports of own modules inside functions, commands left out: {len(late)}")
    for importer, module in late:
        print(f"    {importer}: {module}")
    for circle in circles(files):
        print(f"circle: {' '.join(circle)}")
    for name, named in repeated_module_names(files).items():
        print(f"module name {name}: {', '.join(named)}")
    for way, stations in WAYS.items():
        print(f"{way}: {len({path for path, _ in stations})} files: {', '.join(path for path, _ in stations)}")


if __name__ == "__main__":
    main()
