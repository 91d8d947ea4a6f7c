# docker build --tag forwardpass:0.1.0 .
# RUNTIME=cuda computes on NVIDIA GPUs. EXTRAS adds features, separated by spaces:
# batch scores files, ray does so on a cluster, otel sends traces.

FROM python:3.11-slim AS base

FROM base AS build
WORKDIR /build
# The environment holds no pip: that of the base image installs into it.
RUN python3 -m venv --without-pip /opt/forwardpass

# In a stage of its own, which is the same for every image; what builds the package stays out of the environment.
FROM build AS package
COPY requirements-build.lock ./
RUN python3 -m venv --without-pip /tools \
    && python3 -m pip --python /tools/bin/python install --no-cache-dir --require-hashes \
        --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY training training
RUN /tools/bin/hatchling build --target wheel \
    && python3 -m pip --python /opt/forwardpass/bin/python install --no-cache-dir --no-deps --no-index \
        --root /package dist/*.whl
# Whoever serves them is another user than whoever cloned them, perhaps for themselves alone.
COPY models /package/models
RUN chmod -R a+rX /package/models

FROM build AS libraries
COPY requirements-*.lock ./
ARG RUNTIME=cpu
RUN python3 -m pip --python /opt/forwardpass/bin/python install --no-cache-dir --require-hashes \
        --requirement "requirements-$RUNTIME.lock"
# Above the others: an image with extras takes those as they were installed for one without.
ARG EXTRAS=
RUN for extra in $EXTRAS; do \
        python3 -m pip --python /opt/forwardpass/bin/python install --no-cache-dir --require-hashes \
            --requirement "requirements-$extra.lock" || exit; \
    done

FROM base
ARG RUNTIME=cpu
LABEL org.opencontainers.image.title="forwardpass" \
      org.opencontainers.image.description="Serves the forward pass of small PyTorch networks over HTTP and over files, fast and exactly." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=libraries /opt/forwardpass /opt/forwardpass
COPY --from=package /package/opt /opt
COPY --from=package /package/models /models
# Ray writes into its home, and /tmp is all that need be writable.
ENV HOME=/tmp \
    PATH=/opt/forwardpass/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    FORWARDPASS_HOST=0.0.0.0 \
    FORWARDPASS_MODELS=/models \
    FORWARDPASS_PROVIDER=$RUNTIME
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["forwardpass", "health"]
# In exec form: signals reach the server, which ends in order.
ENTRYPOINT ["forwardpass"]
CMD ["serve"]
