# One static program on an empty base; operator/build-static.sh makes dist/holdfast.
FROM scratch
COPY dist/holdfast /holdfast
USER 65532:65532
ENTRYPOINT ["/holdfast"]
