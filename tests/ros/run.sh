#!/usr/bin/env bash
# The ROS 2 node with the real rclpy, from wheels for Python 3.12 on x86_64, in an environment of its own below build/.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=""
for candidate in "${ROS_PYTHON:-python3.12}" "$HOME"/.pyenv/versions/3.12.*/bin/python; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ] || [ "$(uname -m)" != x86_64 ]; then
  echo "the ROS 2 node is not tested: its wheels are for Python 3.12 on x86_64; name such a Python: ROS_PYTHON=/path/to/python3.12 make ros"
  exit 0
fi
.tools/bin/uv venv --quiet --allow-existing --python "$(readlink -f "$(command -v "$python")")" build/ros
.tools/bin/uv pip install --quiet --python build/ros/bin/python --requirement tests/ros/requirements.txt
PYTHONPATH="$PWD/jetson" build/ros/bin/python -m pytest --confcutdir=tests/ros tests/ros
