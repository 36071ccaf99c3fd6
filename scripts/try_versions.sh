#!/usr/bin/env bash
# Runs the quick tests with the oldest versions that pyproject.toml allows, in a clean environment,
# and prints which later versions of Python have wheels of every dependency.
#
#     scripts/try_versions.sh [PYTEST_ARGUMENT...]
#
# Needs about 8 GB of disk for the environment, and `uv`, which resolves the oldest versions.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/tools"
"$work/tools/bin/python" -m pip install --quiet uv

echo "== the oldest versions, Python $(python3 -c 'import platform; print(platform.python_version())')"
python3 -m venv "$work/venv"
export VIRTUAL_ENV="$work/venv" FEATX_STORE="$work/store"
"$work/tools/bin/uv" pip install --quiet --resolution lowest-direct \
  . "pandas>=2.2.2" "pytest>=8.2" "mahotas>=1.4.19" "timm>=1.0" "datasets>=3.2" "h5py>=3.10" \
  "moto[server]>=5.1" "fsspec>=2024.6" "aiohttp>=3.10" "s3fs>=2024.6"
"$work/tools/bin/uv" pip list | grep -iE '^(numpy|scipy|scikit|torch|opencv|openvino|numba|umap|pillow|pandas)'
"$work/venv/bin/python" -m pytest -q --continue-on-collection-errors "$@" || echo "The quick tests fail at the floors."

for version in 3.12 3.13 3.14; do
  echo "== wheels for Python $version"
  if "$work/tools/bin/uv" pip compile --quiet --only-binary :all: --python-version "$version" \
    pyproject.toml -o "$work/$version.txt"; then
    grep -iE '^(numpy|scikit-learn|torch|opencv|openvino|numba|umap)' "$work/$version.txt"
  fi
done
