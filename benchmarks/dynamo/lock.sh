#!/bin/sh
# Compile requirements/dynamo.txt (exact versions, hashes) for CPython 3.11 on x86-64. Run it after editing requirements.in.
set -eu
cd "$(dirname "$0")/../.."
exec "${UV:-.venv/bin/uv}" pip compile benchmarks/dynamo/requirements.in --override benchmarks/dynamo/requirements.overrides \
  --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet \
  --output-file requirements/dynamo.txt
