"""The student as a ROS 2 node: what Nav2's `semantic_segmentation_layer` subscribes to, of every frame, with the camera's own stamp and frame.

Subscribes to colour, its CameraInfo, depth that lies on colour, and a confidence where the driver has one. Publishes, at the student's size:

- `mask` and `confidence` (Image, mono8), `points` (PointCloud2, a point a pixel), `depth` (Image, 32FC1), `camera_info`: sensor-data QoS;
- `label_info` (vision_msgs/LabelInfo): reliable and kept for who comes later.

rclpy and the messages come from the robot's own ROS 2; they are imported when a node is made.
"""

from __future__ import annotations

import array
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vortex_jetson.live import sources as live
from vortex_jetson.live.pairing import Frame, Pairing
from vortex_jetson.perception.perception import Perception, Seen
from vortex_jetson.perception.pinhole import Pinhole, of_matrix, scaled_matrix
from vortex_jetson.ros import messages as ros_messages

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORDS_EVERY_S = 5.0
"""How often one and the same complaint is logged."""


@dataclass(frozen=True)
class Topics:
    """What is subscribed to, and the name before all that is published. ROS remaps them as it does any topic."""

    colour: str = "color/image_raw"
    camera_info: str = "color/camera_info"
    depth: str = "depth_registered/image_raw"
    confidence: str = ""
    """Empty where the driver has none: the ToF camera is then believed wherever it says a depth."""
    prefix: str = "vortex"


@dataclass(frozen=True)
class Camera:
    """How the pictures are to be read."""

    rectified: bool = False
    """The pictures are undistorted: the matrix of CameraInfo is P, not K, and there is no distortion."""
    depth_frame: str = ""
    """The frame in which depth comes that lies on colour; empty: the one of colour. Depth of any other frame is refused."""
    bound_s: float = 0.02
    """How far the stamps of one frame may lie apart."""
    silent_s: float = 0.5
    """After so long without depth the student answers alone."""


class RosNode:
    """The node `vortex`. `spin` works until `stop` says so; frames that come meanwhile are dropped, not queued."""

    def __init__(
        self,
        perception: Callable[[], Perception],
        topics: Topics = Topics(),
        camera: Camera = Camera(),
        output: Callable[[live.Frame, Seen], None] = lambda frame, seen: None,
    ) -> None:
        """`perception` gives the version at work; it is asked once a frame, so a frame is one version's altogether. `output` gets each frame
        with its answer, named by its stamp in nanoseconds, once the answer is published. What it raises ends `spin`.
        """
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
        from sensor_msgs.msg import CameraInfo, Image, PointCloud2

        self._perception, self._camera, self._output = perception, camera, output
        self._pairing: Pairing[Any] = Pairing(camera.bound_s, camera.silent_s, bool(topics.confidence))
        self._info: Any = None
        self._rays: tuple[Pinhole, NDArray[np.float32]] | None = None
        self._version = ""
        self._complaints: dict[str, float] = {}
        self.node = rclpy.create_node("vortex")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        # One message deep: the newest frame is worth more than the one before it.
        newest = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        subscribe, publish = self.node.create_subscription, self.node.create_publisher
        subscribe(Image, topics.colour, lambda message: self._take(self._pairing.colour, message), newest)
        subscribe(Image, topics.depth, lambda message: self._take(self._pairing.depth, message), newest)
        if topics.confidence:
            subscribe(Image, topics.confidence, lambda message: self._take(self._pairing.confidence, message), newest)
        subscribe(CameraInfo, topics.camera_info, self._take_info, newest)
        self._publishers = {
            name: publish(kind, f"{topics.prefix}/{name}", qos_profile_sensor_data)
            for name, kind in (
                ("mask", Image),
                ("confidence", Image),
                ("depth", Image),
                ("points", PointCloud2),
                ("camera_info", CameraInfo),
            )
        }
        latched = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._labels, self._label_info = _label_info(self.node)
        self._label_publisher = publish(self._labels, f"{topics.prefix}/label_info", latched)
        self._tell_labels(perception())

    def spin(self, stop: Callable[[], bool]) -> None:
        """Work on frames as they come, until `stop()` is true; it is asked ten times a second at least."""
        import rclpy

        while not stop() and rclpy.ok():
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """Take the node out of the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def _take_info(self, message: Any) -> None:
        self._info = message

    def _take(self, add: Callable[[int, Any], Frame[Any] | None], message: Any) -> None:
        arrived = time.monotonic()
        frame = add(message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec, message)
        if frame is None:
            return
        if self._info is None:
            self._complain("no CameraInfo has come yet: nothing is published without it")
            return
        try:
            answer = self._work(frame, arrived)
        except ValueError as error:  # a frame that cannot be read; the next one may be
            self._complain(f"a frame is dropped: {error}")
            return
        self._output(*answer)

    def _work(self, frame: Frame[Any], arrived: float) -> tuple[live.Frame, Seen]:
        perception = self._perception()
        colour, depth, confidence = frame.colour, frame.depth, frame.confidence
        size = (colour.height, colour.width)
        rgb = ros_messages.colour(colour.encoding, size, colour.step, colour.data)
        tof = sure = None
        if depth is None:
            self._complain(
                f"no depth within {self._camera.bound_s:g} s of colour for {self._camera.silent_s:g} s: the student answers alone"
            )
        else:
            expected = self._camera.depth_frame or colour.header.frame_id
            if depth.header.frame_id != expected:
                raise ValueError(
                    f"depth is in frame {depth.header.frame_id!r}, {expected!r} is needed: subscribe to depth that lies on colour"
                )
            tof = ros_messages.depth(depth.encoding, (depth.height, depth.width), depth.step, depth.data, bool(depth.is_bigendian))
        if confidence is not None:
            shape = (confidence.height, confidence.width)
            sure = ros_messages.confidence(confidence.encoding, shape, confidence.step, confidence.data, bool(confidence.is_bigendian))
        camera = self._pinhole(size, perception.size)
        seen = perception.see(rgb, tof, sure)
        if seen.reason:
            self._complain(seen.reason)
        if perception.version != self._version:
            self._tell_labels(perception)
        self._publish(seen, camera, colour.header)
        return live.Frame(str(frame.stamp_ns), arrived, rgb, tof, sure), seen

    def _pinhole(self, size: tuple[int, int], student: tuple[int, int]) -> Pinhole:
        """The colour camera at the student's size."""
        info = self._info
        if (info.height, info.width) != size:
            raise ValueError(f"CameraInfo is of {info.height}x{info.width}, colour is {size[0]}x{size[1]}")
        if info.binning_x > 1 or info.binning_y > 1 or info.roi.width or info.roi.height:
            raise ValueError("CameraInfo states a binning or a region of interest: subscribe to whole pictures")
        if not self._camera.rectified and any(info.d):
            self._complain(
                "the lens is distorted and points are a pinhole's: rectify the pictures, or accept a few per cent at the border",
                every_s=math.inf,
            )
        p = list(info.p)
        return of_matrix([*p[0:3], *p[4:7], *p[8:11]] if self._camera.rectified else info.k, size).scaled(student)

    def _publish(self, seen: Seen, camera: Pinhole, header: Any) -> None:
        if self._rays is None or self._rays[0] != camera:
            self._rays = (camera, camera.rays())
        messages = {
            "mask": _image(header, "mono8", seen.classes),
            "confidence": _image(header, "mono8", seen.confidence),
            "depth": _image(header, "32FC1", ros_messages.unknown_is_nan(seen.depth).astype("<f4", copy=False)),
            "points": _points(header, camera.size, ros_messages.points(seen.depth, self._rays[1])),
            "camera_info": _scaled_info(header, self._info, camera.size),
        }
        for name, message in messages.items():
            self._publishers[name].publish(message)

    def _tell_labels(self, perception: Perception) -> None:
        self._label_publisher.publish(self._label_info(perception.classes))
        self._version = perception.version
        self.node.get_logger().info(f"{perception.version} is at work, {perception.size[0]}x{perception.size[1]}")

    def _complain(self, words: str, every_s: float = _WORDS_EVERY_S) -> None:
        """Log a complaint; while it stays the same but for its figures, every few seconds."""
        now, kind = time.monotonic(), "".join(character for character in words if not character.isdigit())
        if kind not in self._complaints or now - self._complaints[kind] >= every_s:
            self._complaints[kind] = now
            self.node.get_logger().warning(words)


def _image(header: Any, encoding: str, pixels: NDArray[np.generic]) -> Any:
    from sensor_msgs.msg import Image

    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=0)
    message.step = pixels.shape[1] * pixels.itemsize
    message.data = _bytes(pixels.tobytes())
    return message


def _points(header: Any, size: tuple[int, int], data: bytes) -> Any:
    from sensor_msgs.msg import PointCloud2, PointField

    message = PointCloud2(header=header, height=size[0], width=size[1], is_bigendian=False, is_dense=False)
    message.fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1) for name, offset in ros_messages.POINT_FIELDS
    ]
    message.point_step, message.row_step = ros_messages.POINT_STEP, size[1] * ros_messages.POINT_STEP
    message.data = _bytes(data)
    return message


def _scaled_info(header: Any, info: Any, size: tuple[int, int]) -> Any:
    from sensor_msgs.msg import CameraInfo

    message = CameraInfo(header=header, height=size[0], width=size[1], distortion_model=info.distortion_model, d=info.d, r=info.r)
    before = (info.height, info.width)
    message.k, message.p = scaled_matrix(list(info.k), before, size), scaled_matrix(list(info.p), before, size)
    return message


def _label_info(node: Any) -> tuple[Any, Callable[[Sequence[str]], Any]]:
    """The type of `label_info`, and what makes a message of classes: vision_msgs' where it is installed, else the same as JSON in a String."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        from std_msgs.msg import String

        node.get_logger().warning(
            "vision_msgs is not installed: label_info is JSON in a String, which Nav2's layer cannot read; install it"
        )
        return String, lambda classes: String(data=json.dumps({"class_map": dict(enumerate(classes))}))

    def of_classes(classes: Sequence[str]) -> Any:
        message = LabelInfo(class_map=[VisionClass(class_id=place, class_name=name) for place, name in enumerate(classes)])
        message.header.stamp = node.get_clock().now().to_msg()
        return message

    return LabelInfo, of_classes


def _bytes(data: bytes) -> array.array[int]:
    """As rclpy takes them without looking at every one."""
    return array.array("B", data)
