#!/usr/bin/env bash
# The robot's tests on the Pythons that robots have (JetPack 6: 3.10), each in an environment of its own by jetson/uv.lock.
# Tests that import something of the workspace are left to `make test`; so is a Python that this machine does not have.
#
#     jetson/test.sh [UV]        (make jetson)
set -euo pipefail
cd "$(dirname "$0")/.."
uv="$(realpath "${1:-.tools/bin/uv}")"
workspace='^(from|import) (core|models|pipelines|registry|validation|vortex_cli|benchmarks)\b'
mapfile -t tests < <(grep -LE "$workspace" tests/unit/jetson/test_*.py)

for version in 3.10 3.12; do
  python=""
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python "$(command -v "python$version" || true)"; do
    if [ -x "$candidate" ] && "$candidate" -c "import sys; sys.exit('$version' != '%d.%d' % sys.version_info[:2])" 2>/dev/null; then
      python="$candidate"
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "skipped: Python $version is not on this machine"
    continue
  fi
  environment="$PWD/build/jetson/$version"
  UV_PROJECT_ENVIRONMENT="$environment" "$uv" sync --quiet --locked --no-python-downloads --project jetson --extra onnx --python "$python"
  "$environment/bin/python" -c "import sys, numpy, onnxruntime, tuf; print('Python', sys.version.split()[0], 'numpy', numpy.__version__, 'onnxruntime', onnxruntime.__version__, 'tuf', tuf.__version__)"
  "$environment/bin/python" -m pytest -c jetson/pyproject.toml --rootdir . --confcutdir tests/unit/jetson "${tests[@]}"
done
