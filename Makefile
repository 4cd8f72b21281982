# make demo    see it work, on this machine alone          make demo ARGS=--once ends by itself
# make test    every test, from cold
# make bench   figures: speed, requests, memory          make bench ARGS="1000 1" for another size
# make roll ARGS="BINARY [MANIFEST]"   from another version to this one and back under load: nothing may fail
# make build   the release binary and, with a container builder, the image
# make image   the same, and an error without a container builder
# make lint    formatting and clippy
# make manifests   the CRDs in deploy/atomix-controller.yaml and in the chart, and docs/reference.md, from the Rust types
# make docs    the book of docs/, in target/book

ARGS ?=
IMAGE ?= atomix/atomix-k8s-controller:latest
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
BINARY = target/$(HOST)/release/atomix-controller
MANIFEST = deploy/atomix-controller.yaml

.PHONY: help build image binary demo test bench roll lint manifests docs
.NOTPARALLEL:

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

build: binary
	@hack/image.sh --optional $(BINARY) $(IMAGE)

image: binary
	@hack/image.sh $(BINARY) $(IMAGE)

# Static, because the image holds nothing else. With --target, the flag is not applied to build scripts and macros.
binary:
	@hack/need.sh cargo rustc cc
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --bin atomix-controller --target $(HOST) --target-dir target

demo:
	@hack/need.sh cargo cc go
	@echo "Demo: a Kubernetes control plane of our own, the controller, and a PartitionSet. The first time, both are built (some minutes)."
	cargo build --quiet --bin atomix-controller
	cargo run --quiet -p webhook-tests --bin demo -- $(ARGS)

test:
	@hack/need.sh cargo cc go openssl prometheus promtool
	@echo "Tests, on a Kubernetes control plane of our own. The first time, it and the controller are built (some minutes)."
	@hack/test.sh

bench:
	@hack/need.sh cargo cc go
	@echo "Benchmark, on a Kubernetes control plane of our own. The first time, it and a release build are made (some minutes)."
	cargo bench -p webhook-tests --bench convergence -- $(ARGS)

# A debug build: a release build takes long, and no figure comes out of this.
roll:
	@hack/need.sh cargo cc go
	cargo bench -p webhook-tests --bench roll --profile dev -- $(ARGS)

lint:
	@hack/need.sh cargo
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

manifests:
	@hack/need.sh cargo cc
	@mkdir -p target
	cargo run --quiet --bin atomix-controller -- crds > target/crds.yaml
	sed -e '/^# BEGIN GENERATED/,/^# END GENERATED/{//!d;}' -e '/^# BEGIN GENERATED/r target/crds.yaml' $(MANIFEST) > target/manifest.yaml
	cp target/manifest.yaml $(MANIFEST)
	cp target/crds.yaml deploy/chart/files/crds.yaml
	cp deploy/monitoring/* deploy/chart/files/monitoring/
	cargo run --quiet -p webhook-tests --bin api-reference > target/reference.md
	cp target/reference.md docs/reference.md

docs:
	@hack/need.sh cargo cc
	@hack/docs.sh
