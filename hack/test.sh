#!/usr/bin/env bash
# Every test, from cold. The test programs wait for a cluster most of their time, so two of them run side by side; what
# one prints comes as a whole, when it has ended. One that fails keeps none of the others from running.
set -euo pipefail
cd "$(dirname "$0")/.."

export LOGS
LOGS=$(mktemp -d)
trap 'rm -rf "$LOGS"' EXIT

one() {
    local name=$1 start=$SECONDS verdict=passed
    echo "--- $name: running"
    cargo test -p webhook-tests --test "$name" >"$LOGS/$name.log" 2>&1 || verdict=FAILED
    verdict="$name: $verdict after $((SECONDS - start)) s"
    {
        flock 9
        cat "$LOGS/$name.log"
        echo "--- $verdict"
        echo "$verdict" >>"$LOGS/verdicts"
    } 9>"$LOGS/lock"
}
export -f one

cargo build --workspace
cargo test --workspace --no-run
cargo test --workspace --lib --bins
cargo test --workspace --doc

for program in webhook-tests/tests/*; do
    basename "$program" .rs
done | xargs -P 2 -I {} bash -c 'one {}'

echo
cat "$LOGS/verdicts"
if grep -q FAILED "$LOGS/verdicts"; then
    echo "Tests failed: see above."
    exit 1
fi
echo "All tests passed, after $((SECONDS / 60)) min $((SECONDS % 60)) s."
