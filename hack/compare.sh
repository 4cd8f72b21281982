#!/usr/bin/env bash
# The figures of two controllers, one after the other in each round, so that what else the machine does burdens both:
#   hack/compare.sh OLD NEW [ROUNDS [BENCH [ARGUMENTS...]]]
# OLD and NEW are release builds of atomix-controller; BENCH is convergence or requests. The manifest is that of this
# checkout for both. The benchmark itself is a debug build unless PROFILE names another.
set -euo pipefail
cd "$(dirname "$0")/.."

(($# >= 2)) || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
old=$(realpath "$1") new=$(realpath "$2")
rounds=${3:-3} bench=${4:-convergence}
shift "$(($# < 4 ? $# : 4))"

for ((round = 1; round <= rounds; round++)); do
    for which in old new; do
        echo "=== $which, round $round of $rounds"
        ATOMIX_CONTROLLER_BINARY=${!which} cargo bench --quiet -p webhook-tests --bench "$bench" \
            --profile "${PROFILE:-dev}" -- "$@"
    done
done
