#!/usr/bin/env bash
# Packs the function, s3dict and what it needs into build/function.zip, for Python 3.13 on arm64.
set -euo pipefail
cd "$(dirname "$0")"

rm -rf build
python3 -m pip wheel --quiet --no-deps --wheel-dir build ../../..
python3 -m pip install --quiet --target build/package \
  --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --python-version 3.13 --only-binary=:all: \
  build/*.whl
rm -r build/package/s3dict/guide # documentation
cp src/visits.py build/package
cd build/package
python3 -m zipfile -c ../function.zip ./*
