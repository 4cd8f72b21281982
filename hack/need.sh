#!/bin/sh
# Usage: hack/need.sh TOOL...
# Fails if a tool is missing, with a line for each that says how to get it.
set -eu

missing=0
for tool in "$@"; do
    if command -v "$tool" >/dev/null 2>&1; then
        continue
    fi
    missing=1
    case "$tool" in
    cargo | rustc) how="install Rust 1.89 or later, for instance with rustup" ;;
    go) how="install Go 1.26 or later" ;;
    cc) how="install a C compiler and linker (Debian and Ubuntu: apt-get install gcc libc6-dev)" ;;
    openssl) how="install it, for the script that makes development certificates (Debian and Ubuntu: apt-get install openssl)" ;;
    prometheus | promtool) how="install it (Debian and Ubuntu: apt-get install --no-install-recommends prometheus)" ;;
    *) how="install it" ;;
    esac
    echo "error: '$tool' is needed and was not found: $how" >&2
done
exit "$missing"
