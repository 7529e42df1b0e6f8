"""The node as a robot has it: cameras that publish, a planner that subscribes, and real DDS between them. `make ros` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from numpy.typing import NDArray

os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
os.environ.setdefault("ROS_DOMAIN_ID", str(50 + os.getpid() % 50))
rclpy = pytest.importorskip("rclpy", reason="rclpy is not in this environment; `make ros` has one of its own")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from vortex_jetson.perception.perception import Perception  # noqa: E402
from vortex_jetson.ros.node import Camera, RosNode, Topics  # noqa: E402
from vortex_jetson.update import agent  # noqa: E402
from vortex_jetson.update import device as devices  # noqa: E402

from tests.unit.jetson.publisher import CHANNEL, Publisher  # noqa: E402

CLASSES = ("floor", "wall", "glass", "person", "furniture", "other")
STUDENT, PICTURE = (48, 64), (96, 128)
OUTPUTS = {"mask": Image, "confidence": Image, "depth": Image, "points": PointCloud2, "camera_info": CameraInfo}


class Brightness:
    """An engine whose depth is the picture's red in tenths of a metre, and whose class its green."""

    def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits = np.where(np.arange(6)[:, None, None] == rgb[..., 1], np.float32(20), np.float32(0))
        return rgb[..., 0].astype(np.float32) / 10, logits


class Robot:
    """The cameras and the planner."""

    def __init__(self, namespace: str = "") -> None:
        self.node = rclpy.create_node("robot", namespace=namespace)
        self.received: dict[str, list[Any]] = {name: [] for name in (*OUTPUTS, "label_info")}
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.colour = self.node.create_publisher(Image, "color/image_raw", qos_profile_sensor_data)
        self.depth = self.node.create_publisher(Image, "depth_registered/image_raw", qos_profile_sensor_data)
        self.confidence = self.node.create_publisher(Image, "tof/confidence", qos_profile_sensor_data)
        self.info = self.node.create_publisher(CameraInfo, "color/camera_info", qos_profile_sensor_data)
        for name, kind in OUTPUTS.items():
            self.node.create_subscription(kind, f"vortex/{name}", self.received[name].append, qos_profile_sensor_data)

    def hear_labels(self) -> None:
        """Subscribe as a planner does that starts after the node."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(String, "vortex/label_info", self.received["label_info"].append, latched)

    def show(
        self,
        stamp_ns: int,
        tof_mm: int,
        red: int = 20,
        frame: str = "camera",
        depth_frame: str = "camera",
        depth: bool = True,
        sure: NDArray[np.uint8] | None = None,
    ) -> None:
        """One frame: red, class 2, ToF in the left half, and how `sure` the ToF camera is."""
        info = CameraInfo(height=PICTURE[0], width=PICTURE[1], distortion_model="plumb_bob", d=[0.0] * 5)
        info.k = [100.0, 0.0, 63.5, 0.0, 110.0, 47.5, 0.0, 0.0, 1.0]
        info.p = [100.0, 0.0, 63.5, -5.0, 0.0, 110.0, 47.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        colour = np.zeros((*PICTURE, 3), np.uint8)
        colour[...] = (0, 2, red)  # blue, green, red
        metres = np.zeros(PICTURE, np.uint16)
        metres[:, : PICTURE[1] // 2] = tof_mm + np.arange(PICTURE[0])[:, None] // 2 % 2
        pictures = [(self.colour, "bgr8", colour, frame)]
        if depth:
            pictures.insert(0, (self.depth, "16UC1", metres, depth_frame))
        if sure is not None:
            pictures.insert(0, (self.confidence, "mono8", sure, depth_frame))
        info.header.frame_id = frame
        self.info.publish(info)
        time.sleep(0.02)
        for publisher, encoding, pixels, frame_id in pictures:
            message = Image(height=PICTURE[0], width=PICTURE[1], encoding=encoding, step=pixels.strides[0], data=pixels.tobytes())
            message.header.frame_id = frame_id
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
            publisher.publish(message)

    def wait(self, enough: Any, seconds: float = 5.0) -> bool:
        """Listen until `enough()`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough():
            self.executor.spin_once(timeout_sec=0.02)
        return bool(enough())

    def frames(self) -> int:
        """How many frames came whole."""
        return min(len(self.received[name]) for name in OUTPUTS)


@pytest.fixture(scope="module")
def work() -> Iterator[tuple[Robot, dict[str, Perception]]]:
    rclpy.init()
    versions = {"now": Perception("v9", Brightness(), STUDENT, CLASSES, CLASSES)}
    node, stopped = RosNode(lambda: versions["now"], Topics(), Camera()), threading.Event()
    thread = threading.Thread(target=node.spin, args=(stopped.is_set,))
    thread.start()
    robot = Robot()
    assert robot.wait(lambda: robot.colour.get_subscription_count() and robot.depth.get_subscription_count(), 10)
    assert robot.wait(lambda: robot.info.get_subscription_count() and robot.node.count_publishers("vortex/points"), 10)
    robot.wait(lambda: False, 0.5)  # until the planner's subscriptions are matched too
    yield robot, versions
    stopped.set()
    thread.join()
    node.close()
    robot.node.destroy_node()
    rclpy.shutdown()


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a device that runs v8, whose depth is the picture's brightness times 5 m."""
    folder = tmp_path_factory.mktemp("device")
    publisher = Publisher(folder / "publish")
    publisher.publish(publisher.bundle("v8"))
    (folder / "root.json").write_bytes(publisher.root)
    agent.pull(devices.init(folder / "device", devices.Settings("robot-7", CHANNEL, str(publisher.folder)), folder / "root.json"))
    return folder / "device"


def test_a_frame_comes_out_whole_with_the_cameras_stamp_and_frame(work: tuple[Robot, dict[str, Perception]]) -> None:
    robot, _ = work
    robot.show(1_000_000_123, 3000)
    assert robot.wait(lambda: robot.frames() == 1)
    messages = {name: robot.received[name][-1] for name in OUTPUTS}
    for message in messages.values():
        assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (1, 123, "camera")
        assert (message.height, message.width) == STUDENT
    assert (messages["mask"].encoding, messages["confidence"].encoding, messages["depth"].encoding) == ("mono8", "mono8", "32FC1")
    assert set(messages["mask"].data) == {2}
    # The ToF camera says 3 m and a bit at the left; the student says 2 m, and is scaled by 1.5.
    depth = np.frombuffer(messages["depth"].data, np.float32).reshape(STUDENT)
    confidence = np.frombuffer(messages["confidence"].data, np.uint8).reshape(STUDENT)
    np.testing.assert_allclose(depth, 3.0, atol=2e-3)
    assert (confidence[:, :32] == 255).all() and (confidence[:, 32:] == 127).all()
    k, p = messages["camera_info"].k, messages["camera_info"].p
    assert list(k) == [50.0, 0.0, 31.5, 0.0, 55.0, 23.5, 0.0, 0.0, 1.0] and p[3] == -2.5
    cloud = messages["points"]
    assert [(field.name, field.offset, field.datatype) for field in cloud.fields] == [("x", 0, 7), ("y", 4, 7), ("z", 8, 7)]
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (12, 12 * 64, 12 * 64 * 48)
    points = np.frombuffer(cloud.data, np.float32).reshape(*STUDENT, 3)
    np.testing.assert_array_equal(points[..., 2], depth)
    np.testing.assert_allclose(points[0, 63, :2], [depth[0, 63] * (63 - 31.5) / 50, depth[0, 63] * (0 - 23.5) / 55], rtol=1e-6)


def test_classes_are_told_to_who_comes_later(work: tuple[Robot, dict[str, Perception]]) -> None:
    robot, _ = work
    robot.hear_labels()
    assert robot.wait(lambda: robot.received["label_info"])
    assert json.loads(robot.received["label_info"][0].data) == {"class_map": dict(zip(map(str, range(6)), CLASSES, strict=True))}


def test_unknown_depth_is_nan_and_a_version_is_swapped_between_frames(work: tuple[Robot, dict[str, Perception]]) -> None:
    robot, versions = work
    before, labels = robot.frames(), len(robot.received["label_info"])
    versions["now"] = Perception("v10", Brightness(), STUDENT, CLASSES[:2], ())  # taught no class
    robot.show(2_000_000_000, 2500, red=0)  # the student says 0
    assert robot.wait(lambda: robot.frames() == before + 1)
    depth = np.frombuffer(robot.received["depth"][-1].data, np.float32).reshape(STUDENT)
    points = np.frombuffer(robot.received["points"][-1].data, np.float32).reshape(*STUDENT, 3)
    np.testing.assert_allclose(depth[:, :32], 2.5, atol=2e-3)
    assert np.isnan(depth[:, 32:]).all() and np.isnan(points[:, 32:]).all()
    assert set(robot.received["mask"][-1].data) == {255}
    assert robot.wait(lambda: len(robot.received["label_info"]) > labels)
    assert len(json.loads(robot.received["label_info"][-1].data)["class_map"]) == 2


def test_depth_of_another_frame_or_time_is_not_used(work: tuple[Robot, dict[str, Perception]]) -> None:
    robot, _ = work
    before = robot.frames()
    robot.show(3_000_000_000, 2500, depth_frame="tof")
    assert not robot.wait(lambda: robot.frames() > before, 0.6)
    robot.show(3_400_000_000, 2500, depth=False)  # it may still come
    assert not robot.wait(lambda: robot.frames() > before, 0.6)
    robot.show(4_000_000_000, 2500, depth=False)  # now the ToF camera counts as silent
    assert robot.wait(lambda: robot.frames() == before + 1)
    assert max(robot.received["confidence"][-1].data) == 127
    robot.show(3_900_000_000, 2500)  # late: older than what was published
    assert not robot.wait(lambda: robot.frames() > before + 1, 0.6)


def test_run_writes_and_records_what_comes_over_ros_and_takes_the_tof_cameras_confidence(
    work: tuple[Robot, dict[str, Perception]], pulled: Path, tmp_path: Path
) -> None:
    """As its user types it; `work` has ROS up. The command is in a namespace of its own, so that the node above hears nothing of it."""
    words = [
        "--source",
        "ros",
        "--confidence",
        "sure",
        "--frames",
        "3",
        "--out",
        str(tmp_path / "out"),
        "--record",
        str(tmp_path / "run.mcap"),
    ]
    command = [sys.executable, "-m", "vortex_jetson.cli", "run", "--state", str(pulled), "--json", *words]
    robot = Robot("/other")
    run = subprocess.Popen([*command, "--ros", "-r", "__ns:=/other", "-r", "sure:=tof/confidence"], stdout=subprocess.PIPE)
    try:
        assert robot.wait(lambda: robot.confidence.get_subscription_count() and robot.colour.get_subscription_count(), 20)
        assert robot.wait(lambda: robot.info.get_subscription_count() and robot.depth.get_subscription_count(), 10)
        robot.wait(lambda: False, 0.5)
        sure = np.zeros(PICTURE, np.uint8)
        sure[: PICTURE[0] // 2] = 255
        for number in range(60):
            robot.show(10_000_000_000 + number * 100_000_000, 300, sure=sure)
            if robot.wait(lambda: run.poll() is not None, 0.1):
                break
        document = json.loads(run.communicate(timeout=20)[0])
    finally:
        run.kill()
        robot.node.destroy_node()
    assert (run.returncode, document["frames"], document["shadow"]) == (0, {"v8": 3}, [])
    names = sorted(path.name.split(".")[0] for path in (tmp_path / "out").glob("*.depth.npy"))
    assert len(names) == 3 and all(10_000_000_000 <= int(name) < 16_000_000_000 for name in names), "named by the camera's stamps"
    confidence = np.load(tmp_path / "out" / f"{names[0]}.confidence.npy")
    measured = np.zeros((12, 16), bool)
    measured[:6, :8] = True  # where it is sure, and says a depth
    np.testing.assert_array_equal(confidence >= 128, measured)
    with open(tmp_path / "run.mcap", "rb") as stream:
        topics = [channel.topic for _, channel, _ in make_reader(stream).iter_messages()]
    assert topics.count("/color/image_raw") == topics.count("/depth_registered/image_raw") == topics.count("/vortex/depth") == 3
