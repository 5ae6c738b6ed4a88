#!/usr/bin/env bash
# Packs the function, s3dict and its dependencies into a zip archive: the same sources and releases give the same bytes.
#
#   ./build.sh [--architecture arm64|x86_64] [--python 3.13] [--without-boto3] [--output build/function.zip]
#
# --without-boto3 leaves boto3 and its dependencies to the Lambda runtime, where AWS chooses the release.
set -euo pipefail
cd "$(dirname "$0")"

usage="usage: $0 [--architecture arm64|x86_64] [--python VERSION] [--without-boto3] [--output FILE]"
architecture=arm64 python=3.13 output=build/function.zip leave_out=()
while [ $# -gt 0 ]; do
  case $1 in
    --architecture) architecture=${2:?$usage}; shift 2 ;;
    --python) python=${2:?$usage}; shift 2 ;;
    --without-boto3) leave_out=(boto3 botocore s3transfer jmespath dateutil python_dateutil six urllib3); shift ;;
    --output) output=${2:?$usage}; shift 2 ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
done
# pip accepts exactly the given tags, and no older ones. For arm64, obstore has wheels for manylinux_2_24 only.
case $architecture in
  arm64 | aarch64) platforms=(manylinux_2_28_aarch64 manylinux_2_24_aarch64 manylinux2014_aarch64) ;;
  x86_64) platforms=(manylinux_2_28_x86_64 manylinux2014_x86_64) ;;
  *) echo "$usage" >&2; exit 2 ;;
esac

mkdir -p "$(dirname "$output")"
output=$(cd "$(dirname "$output")" && pwd)/$(basename "$output")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip wheel --quiet --no-deps --wheel-dir "$work" ../../..
python3 -m pip install --quiet --no-compile --target "$work/package" \
  "${platforms[@]/#/--platform=}" --python-version "$python" --only-binary=:all: "$work"/*.whl
cp src/visits.py "$work/package"

cd "$work/package"
rm -rf bin s3dict/examples s3dict/guide _s3dict_pytest.py ./*.dist-info/{RECORD,direct_url.json}
for name in ${leave_out[@]+"${leave_out[@]}"}; do rm -rf "$name" "$name.py" "$name"-*.dist-info; done

# Lambda's file system is read-only: without bytecode in the archive, every cold start compiles all modules again. It is not
# validated against the sources (unchecked-hash), whose modification times change when Lambda unpacks the archive.
if "python$python" -c '' 2> /dev/null; then
  "python$python" -m compileall -q --invalidation-mode unchecked-hash .
else
  echo "$0: python$python is not installed: the package contains no bytecode, and cold starts take longer" >&2
fi

python3 - "$output" <<'END'
import pathlib
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for path in sorted(path for path in pathlib.Path().rglob("*") if path.is_file()):
        entry = zipfile.ZipInfo(path.as_posix(), (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o100644 << 16
        archive.writestr(entry, path.read_bytes())
END
