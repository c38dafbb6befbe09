#!/bin/sh
# Gathers all that install.sh needs into one folder, on a computer with a network.
set -eu

usage() {
    cat <<END
usage: collect_wheels.sh --output DIR [--platform x86_64|aarch64] [--python-version 3.10|3.11|...]

Gathers the wheels of a base station into a folder that install.sh takes without a network.
The folder is emptied of other wheels; SHA256SUMS in it is what install.sh checks.

  --output DIR           where the wheels go
  --platform NAME        processor of the board (default: this computer's)
  --python-version X.Y   Python of the board (default: this computer's)

The interpreter that gathers is python3, or \$PYTHON.

example:
  edge_configs/collect_wheels.sh --output wheels --platform aarch64 --python-version 3.11
END
}

fail() {
    echo "collect_wheels.sh: $1" >&2
    exit "${2:-1}"
}

python=${PYTHON:-python3}
output=
platform=$(uname -m)
version=
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage; exit 0 ;;
        --output | --platform | --python-version)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
            case $1 in
                --output) output=$2 ;;
                --platform) platform=$2 ;;
                *) version=$2 ;;
            esac
            shift 2 ;;
        *) fail "unknown option $1; see --help" 2 ;;
    esac
done
[ -n "$output" ] || fail "--output is missing; see --help" 2
case $platform in
    x86_64 | aarch64) ;;
    *) fail "--platform $platform: expected x86_64 or aarch64" 2 ;;
esac
[ -n "$version" ] || version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.10) list=requirements-python3.10.txt ;;
    3.1[1-9]) list=requirements.txt ;;
    *) fail "--python-version $version: expected 3.10 or newer" 2 ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$output"
rm -f "$output"/*.whl "$output/SHA256SUMS" "$output"/requirements*.txt
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$output" "$here/../runtime"
"$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$output" \
    --implementation cp --python-version "$version" \
    --platform "manylinux_2_28_$platform" --platform "manylinux_2_27_$platform" \
    --platform "manylinux_2_17_$platform" --platform "manylinux2014_$platform" \
    --requirement "$here/$list"
cp "$here/$list" "$output/requirements.txt"
(cd "$output" && sha256sum ./*.whl requirements.txt > SHA256SUMS)
echo "$output: $(find "$output" -name '*.whl' | wc -l) wheels for $platform, Python $version"
