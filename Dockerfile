# The image: one static binary on an empty base. Must not build anything.
# The binary comes first, since a base with a compiler cannot be had offline:
#   operator/build-static.sh dist/holdfast && buildah build --tag holdfast:dev .
FROM scratch
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="MySQL clusters on Kubernetes that never lose an acknowledged write" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="scratch"
COPY --chmod=0755 dist/holdfast /holdfast
USER 65532:65532
ENTRYPOINT ["/holdfast"]
