# An image with clipes for CPUs or, with --build-arg DEVICE=cuda, for NVIDIA GPUs. See docs/cluster.md.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm
ARG DEVICE=cpu

# OpenCV needs libgl1 and libglib2.0-0, and KubeRay's probes need wget. A newer patch of a Debian package is always welcome, so no version is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 clipes \
    && mkdir /clipes /data && chown clipes /clipes /data
USER 1000
ENV PATH=/home/clipes/.local/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

# torch comes first: the packages for CUDA take gigabytes, and the layer stays valid if only clipes changes.
WORKDIR /clipes
COPY --chown=clipes constraints.txt ./
RUN case "${DEVICE}" in \
        cpu) pip install --user --constraint constraints.txt torch torchvision \
                --extra-index-url https://download.pytorch.org/whl/cpu ;; \
        cuda) pip install --user --constraint constraints.txt torch torchvision ;; \
        *) echo "DEVICE must be cpu or cuda, not ${DEVICE}" >&2; exit 1 ;; \
    esac
COPY --chown=clipes . ./
RUN pip install --user --constraint constraints.txt --editable '.[all]' 'ray[default]' && clipes --help

# Photos, configs and stores are mounted here, or are on an object store.
WORKDIR /data
CMD ["clipes", "--help"]
