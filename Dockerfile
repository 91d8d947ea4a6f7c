# docker build --tag forwardpass:0.1.0 .
# RUNTIME=cuda computes on NVIDIA GPUs. EXTRAS adds what else the image shall do, as a list:
# batch scores files, ray does so on a cluster, otel sends traces.

FROM python:3.11-slim AS base

FROM base AS build
ARG RUNTIME=cpu
ARG EXTRAS=
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
# The environment holds no pip: that of the base image installs into it.
RUN python3 -m venv --without-pip /opt/forwardpass
COPY requirements-*.lock ./
RUN locks=(); \
    for lock in "$RUNTIME" $EXTRAS; do locks+=(--requirement "requirements-$lock.lock"); done; \
    python3 -m pip --python /opt/forwardpass/bin/python install --no-cache-dir --require-hashes "${locks[@]}"
# What builds the package stays out of the environment, and the package in a layer of its own, above its libraries.
RUN python3 -m venv --without-pip /tools \
    && python3 -m pip --python /tools/bin/python install --no-cache-dir --require-hashes \
        --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY training training
RUN /tools/bin/hatchling build --target wheel \
    && python3 -m pip --python /opt/forwardpass/bin/python install --no-cache-dir --no-deps --no-index \
        --root /package dist/*.whl

FROM base
ARG RUNTIME=cpu
LABEL org.opencontainers.image.title="forwardpass" \
      org.opencontainers.image.description="Serves the forward pass of small PyTorch networks over HTTP and over files, fast and exactly." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/forwardpass /opt/forwardpass
COPY --from=build /package /
COPY models /models
ENV PATH=/opt/forwardpass/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    FORWARDPASS_HOST=0.0.0.0 \
    FORWARDPASS_MODELS=/models \
    FORWARDPASS_PROVIDER=$RUNTIME
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["forwardpass", "health"]
# In exec form: signals reach the server, which ends in order.
ENTRYPOINT ["forwardpass"]
CMD ["serve"]
