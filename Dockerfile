# The controller and nothing else: no shell, no package, no file that could be out of date. `make build` makes the static
# binary first and uses this file with it.
FROM scratch

LABEL org.opencontainers.image.title="atomix-k8s-controller" \
      org.opencontainers.image.description="Runs Atomix partition groups on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"

# Where `make binary` put it.
ARG BINARY=target/x86_64-unknown-linux-gnu/release/atomix-controller
COPY ${BINARY} /atomix-controller

USER 65532:65532
EXPOSE 5679 8080 9443
ENTRYPOINT ["/atomix-controller"]
CMD ["run"]
