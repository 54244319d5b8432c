#!/usr/bin/env bash
# Makes the pictures of these pages from a cluster that runs in QEMU: docs/pictures.sh
# It needs what `cargo image run --setup` has installed, and takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
image() { cargo --quiet image "$@"; }

# With a terminal `run` goes on until it is told to end, here after half an hour at the latest.
sleep 1800 | script --quiet --flush --return --command "cargo image run --cluster 4 --out $out" "$out/console" >/dev/null &
trap 'pkill -P $$ 2>/dev/null; rm -rf "$out"' EXIT

# Waits at most ten minutes for text in the figures.
until_shown() {
    for _ in $(seq 300); do
        if image ctl --out "$out" face show 2>/dev/null | grep -Eq "$1"; then return; fi
        sleep 2
    done
    echo "late: $1" >&2
    exit 1
}

for board in 1 2 3 4; do until_shown "^$board +ready .* [0-9.]+ (B|KiB) +[0-9.]+ (B|KiB) "; done
image box --out "$out" off 3 >/dev/null
until_shown "^3 +off"
image ctl --out "$out" status --box --plot >docs/box.svg
for page in identity load; do
    image ctl --out "$out" --json face display --svg |
        python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$page" >"docs/oled-$page.svg"
done
