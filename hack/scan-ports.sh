#!/bin/sh
# Usage: hack/scan-ports.sh WEBHOOK_HOST:PORT [GRPC_HOST:PORT]
# Looks at the TLS of a running controller with sslyze (PyPI) and holds on to it with slowhttptest (Debian), and prints
# what they found. Not part of the tests: both tools are other people's, and the second takes two minutes.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
for tool in sslyze slowhttptest; do
    command -v "$tool" >/dev/null || {
        echo "error: '$tool' is needed and was not found" >&2
        exit 1
    }
done

# The authority is the controller's own, so that it is not trusted here is no fault.
for target in "$@"; do
    echo "=== sslyze, $target"
    sslyze --mozilla_config=intermediate --sni=atomix-controller.kube-system.svc "$target" || true
done
for attack in -H -B; do
    echo "=== slowhttptest $attack, https://$1/mutate"
    slowhttptest "$attack" -c 500 -r 100 -i 5 -x 24 -l 60 -p 3 -t POST -u "https://$1/mutate" | tail -n 16
done
