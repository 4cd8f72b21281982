#!/bin/sh
# Usage: hack/docs.sh
# Makes a book of docs/ in target/book, with mdbook of this version: the one in PATH, or else one that is built once.
set -eu
cd "$(dirname "$0")/.."

version=0.5.4
mdbook=mdbook
is_right() {
    [ "$("$mdbook" --version 2>/dev/null)" = "mdbook v$version" ]
}

if ! is_right; then
    mdbook=target/mdbook/bin/mdbook
fi
if ! is_right; then
    echo "Building mdbook $version into target/mdbook (once, some minutes)"
    cargo install --locked --version "$version" --no-default-features --features search \
        --root target/mdbook --target-dir target/mdbook/build mdbook
    rm -rf target/mdbook/build
fi
"$mdbook" build docs
echo "Built target/book/index.html"
