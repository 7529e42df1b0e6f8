"""The node for ROS 2, its messages, and Nav2's parameters."""
