"""Parameters of Nav2's costmap for a version's classes: the `semantic_segmentation_layer`, and inflation by class.

A layer inflates all that it marks alike, so classes that keep the same distance share a container (`nav2_costmap_2d::PluginContainerLayer`,
Nav2 of ROS 2 Kilted and later) of one semantic and one inflation layer. In each, the other classes have no cost, since their own container
marks them. So no class ever frees a cell that it is seen in but floor, and glass, which is dominant, is not outvoted by what is seen through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from vortex_jetson.perception.costmap import FLOOR, GLASS, OBSTACLE

FARTHEST_M: Final = 5.0
"""Observations beyond it are left out: at 240×320 a cell of 5 cm is then narrower than three pixels."""
MEMORY_S: Final = 5.0
STALE_S: Final = 0.5
# Numbers that ROS declares as doubles are written with their point: it refuses an integer for one.
_HEAD: Final = """\
# Costmap layers for the classes of {version}, written by `vortex-jetson nav2-params`.
# Merge them into the parameters of your costmap, before its own inflation layer. Needs github.com/kiwicampus/semantic_segmentation_layer.
"""


def parameters(
    version: str,
    classes: Sequence[str],
    inflation: Mapping[str, float],
    nearest_m: float,
    *,
    prefix: str = "vortex",
    containers: bool = True,
) -> str:
    """YAML for the local costmap. `inflation` is in metres by class, `nearest_m` from where on depth counts, `prefix` that of the topics.

    Without `containers`, for a Nav2 that has none, one layer marks all classes and all are inflated as the widest.
    """
    obstacles = [name for name in classes if name != FLOOR]
    radii = {name: inflation.get(name, 0.0) for name in obstacles}
    if not containers:
        radii = dict.fromkeys(obstacles, max(radii.values(), default=0.0))
    groups: dict[float, list[str]] = {}
    for name, radius in radii.items():
        groups.setdefault(radius, []).append(name)
    layers = {f"vortex_{'_'.join(names) if containers else 'semantics'}": (names, radius) for radius, names in groups.items()}
    body: list[str] = []
    for layer, (names, radius) in layers.items():
        semantics = _semantics(names, [name for name in classes if name not in names], nearest_m, prefix)
        if containers:
            body += [f"{layer}:", *_indented(_container(semantics, radius))]
        else:
            body += [f"{layer}:", *_indented(semantics), *_inflation_layer("vortex_inflation", radius)]
    plugins = list(layers) if containers or not any(radii.values()) else [*layers, "vortex_inflation"]
    lines = ["local_costmap:", "  local_costmap:", "    ros__parameters:", *_indented([f"plugins: {_names(plugins)}", *body], 3)]
    return _HEAD.format(version=version) + "\n".join(lines) + "\n"


def _container(semantics: list[str], radius: float) -> list[str]:
    plugins = ["semantics", "inflation"] if radius else ["semantics"]
    return [
        "plugin: nav2_costmap_2d::PluginContainerLayer",
        "enabled: true",
        "combination_method: 1",
        f"plugins: {_names(plugins)}",
        "semantics:",
        *_indented(semantics),
        *_inflation_layer("inflation", radius),
    ]


def _inflation_layer(name: str, radius: float) -> list[str]:
    if not radius:
        return []
    return [
        f"{name}:",
        *_indented(["plugin: nav2_costmap_2d::InflationLayer", f"inflation_radius: {float(radius)}", "cost_scaling_factor: 3.0"]),
    ]


def _semantics(obstacles: list[str], others: list[str], nearest_m: float, prefix: str) -> list[str]:
    solid = [name for name in obstacles if name != GLASS]
    types = {
        "obstacles": (solid, OBSTACLE, False),
        "glass": ([GLASS] if GLASS in obstacles else [], OBSTACLE, True),
        "no_cost": (others, 0, False),
    }
    types = {name: entry for name, entry in types.items() if entry[0]}
    source = [
        f"segmentation_topic: /{prefix}/mask",
        f"confidence_topic: /{prefix}/confidence",
        f"labels_topic: /{prefix}/label_info",
        f"pointcloud_topic: /{prefix}/points",
        f"min_obstacle_distance: {float(nearest_m)}",
        f"max_obstacle_distance: {FARTHEST_M}",
        f"expected_update_rate: {STALE_S}",
        f"tile_map_decay_time: {MEMORY_S}",
        "use_cost_selection: true",
        f"class_types: {_names(list(types))}",
    ]
    for name, (classes, cost, dominant) in types.items():
        source += [f"{name}:", *_indented(_costs(classes, cost, dominant))]
    return [
        "plugin: semantic_segmentation_layer::SemanticSegmentationLayer",
        "enabled: true",
        "combination_method: 1",
        "observation_sources: camera",
        "camera:",
        *_indented(source),
    ]


def _costs(classes: list[str], cost: int, dominant: bool) -> list[str]:
    return [
        f"classes: {_names(classes)}",
        f"base_cost: {cost}",
        f"max_cost: {cost}",
        "mark_confidence: 0",
        "samples_to_max_cost: 0",
        f"dominant_priority: {str(dominant).lower()}",
    ]


def _names(names: list[str]) -> str:
    """In quotes: a class may be called no, which YAML takes for a truth value."""
    return f"[{', '.join(json.dumps(name) for name in names)}]"


def _indented(lines: list[str], levels: int = 1) -> list[str]:
    return ["  " * levels + line for line in lines]
