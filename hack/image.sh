#!/bin/sh
# Usage: hack/image.sh [--optional] BINARY IMAGE
# Puts a built binary into a container image, with the first of docker, podman and buildah that works here. With
# --optional, having none of them is no error.
set -eu

optional=no
if [ "$1" = --optional ]; then
    optional=yes
    shift
fi
binary=$1
image=$2

if [ "$(uname -s)" != Linux ]; then
    echo "error: the image needs a binary that was built on Linux" >&2
    exit 1
fi
if ! ldd "$binary" 2>&1 | grep -Eq 'statically linked|not a dynamic executable'; then
    echo "error: $binary is not statically linked; in an image with nothing else it would not start" >&2
    exit 1
fi
echo "Built $binary ($(du -h "$binary" | cut -f1), static)"

# A client alone is not enough: docker needs its daemon.
works() {
    command -v "$1" >/dev/null 2>&1 && "$1" info >/dev/null 2>&1
}

if works docker; then
    builder="docker build"
elif works podman; then
    builder="podman build"
elif works buildah; then
    builder="buildah build"
else
    cat >&2 <<END
No container image was built: none of docker, podman and buildah works here.
To get one: start Docker, or install podman or buildah (Debian and Ubuntu: apt-get install buildah), then: make image
END
    [ "$optional" = yes ]
    exit
fi

$builder --file Dockerfile --build-arg BINARY="$binary" --tag "$image" .
echo "Built the image $image with ${builder%% *}"
