from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from vortex_jetson.ros.nav2_params import parameters

CLASSES = ("floor", "wall", "glass", "person", "furniture", "other")
INFLATION = {"wall": 0.3, "glass": 0.6, "person": 0.8, "furniture": 0.3, "other": 0.3}


def layers(text: str) -> dict[str, Any]:
    yaml = pytest.importorskip("ruamel.yaml", reason="the YAML is read with ruamel.yaml").YAML(typ="safe")
    parsed: dict[str, Any] = yaml.load(StringIO(text))["local_costmap"]["local_costmap"]["ros__parameters"]
    return parsed


def test_the_file_for_six_classes_is_the_one_that_was_looked_at() -> None:
    golden = Path(__file__).with_name("nav2_params.yaml")
    assert parameters("v9", CLASSES, INFLATION, 0.05) == golden.read_text()


def test_every_class_is_marked_once_and_inflated_by_its_own_distance() -> None:
    nodes = layers(parameters("v9", CLASSES, INFLATION, 0.05))
    inflated: dict[str, float] = {}
    for name in nodes["plugins"]:
        camera = nodes[name]["semantics"]["camera"]
        types = {kind: camera[kind] for kind in camera["class_types"]}
        assert sorted(member for kind in types.values() for member in kind["classes"]) == sorted(
            CLASSES
        )  # the layer knows all of LabelInfo
        marked = [member for kind in types.values() for member in kind["classes"] if kind["base_cost"] == kind["max_cost"] == 254]
        assert "floor" not in marked
        inflated |= dict.fromkeys(marked, nodes[name]["inflation"]["inflation_radius"])
        # ROS refuses an integer for a double.
        assert all(isinstance(camera[key], float) for key in ("min_obstacle_distance", "max_obstacle_distance", "tile_map_decay_time"))
        assert isinstance(nodes[name]["inflation"]["inflation_radius"], float)
    assert inflated == INFLATION
    assert [name for name in nodes["plugins"] if "glass" in nodes[name]["semantics"]["camera"]["class_types"]] == ["vortex_glass"]
    assert nodes["vortex_glass"]["semantics"]["camera"]["glass"]["dominant_priority"] is True


def test_an_older_nav2_gets_one_layer_with_the_widest_distance() -> None:
    nodes = layers(parameters("v9", CLASSES, INFLATION, 0.05, containers=False))
    assert nodes["plugins"] == ["vortex_semantics", "vortex_inflation"]
    assert nodes["vortex_inflation"]["inflation_radius"] == 0.8
    camera = nodes["vortex_semantics"]["camera"]
    assert camera["no_cost"]["classes"] == ["floor"] and camera["obstacles"]["classes"] == ["wall", "person", "furniture", "other"]


def test_topics_and_awkward_names_survive() -> None:
    nodes = layers(parameters("v9", ("floor", "glass", "no", "1"), {}, 0.05, prefix="left/vortex"))
    (name,) = nodes["plugins"]
    camera = nodes[name]["semantics"]["camera"]
    assert camera["obstacles"]["classes"] == ["no", "1"]
    assert camera["pointcloud_topic"] == "/left/vortex/points"
    assert nodes[name]["plugins"] == ["semantics"]  # nothing is inflated
