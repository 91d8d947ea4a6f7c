# `make serve` and `make test` are all that a fresh machine needs; each installs what it uses.
.DEFAULT_GOAL := help
.PHONY: help serve test lint wrk prometheus image-test image-tools bench bench-report bench-startup bench-exactness bench-overload bench-slow bench-workers bench-lifecycle bench-soak bench-score bench-rivals train docs lock verify format clean

PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check

# The two environments are kept apart so that what is tested to need no torch has none.
SERVICE = .venv
TESTS = .venv-test
# The KServe SDK brings its own web framework and much more; with it are the types of other custom resources.
KSERVE = .venv-kserve
# checkov brings 100 packages.
CHECKOV = .venv-checkov
# Other servers, to compare with.
RIVALS = bentoml litserve mlserver mosec ray

help:
	@echo "make serve            serve the models in models/ on 127.0.0.1:8080 (settings: FORWARDPASS_*)"
	@echo "make test             lint, type-check and run every test"
	@echo "make lint             lint and type-check alone"
	@echo "make wrk              install the load generator of the tests and benchmarks where it is missing"
	@echo "make prometheus       install Prometheus for the tests of the dashboard and the alerts where it is missing"
	@echo "make image-test       build the container images and run them, with Docker or without (3 minutes)"
	@echo "make image-tools      install what builds and runs images where there is no Docker daemon"
	@echo "make bench            measure what a prediction costs over HTTP, beside an empty application (17 minutes)"
	@echo "make bench-report     write the tables and the plot of benchmarks/ anew from the figures that were kept"
	@echo "make bench-rivals     measure what a prediction costs on other servers, each in an environment of its own (6 minutes)"
	@echo "make bench-startup    measure how long the server takes to be ready (10 seconds)"
	@echo "make bench-exactness  check the answers to a million random requests to the last bit (9 minutes)"
	@echo "make bench-overload   measure what comes of five and ten times the requests that can be computed (6 minutes)"
	@echo "make bench-slow       measure what ordinary clients notice of slow, idle and vanishing ones (4 minutes)"
	@echo "make bench-workers    measure what is lost where one of four workers is killed (4 minutes)"
	@echo "make bench-lifecycle  measure what clients notice of reloads and of servers replaced in turn (8 minutes)"
	@echo "make bench-soak       measure what memory grows by over a million requests and 200 reloads (12 minutes)"
	@echo "make bench-score      measure what scoring files costs, and what is left of it when it is killed (10 minutes)"
	@echo "make train            train every tutorial model again and publish it into models/"
	@echo "make verify           train every model again and compare with what is published, build the other images, then soak a server as bench-soak does"
	@echo "make lock             write the lock files anew from pyproject.toml"
	@echo "make docs             write the README's tables anew from the code"
	@echo "make format           format the code"
	@echo "make clean            remove the environments and the images of image-test"

serve: $(SERVICE)/installed
	exec $(SERVICE)/bin/forwardpass serve

# Tests that look at memory, at how fast something is, or at Ray's dozen processes have the machine to themselves. The
# others share it, those that take longest first, so that none of them runs on when all else is done; many wait more than
# they compute.
ALONE = $(addprefix tests/,test_benchmarks.py test_keys.py test_malformed.py test_memory.py test_overload.py \
	service/scoring/test_on_ray.py)
LONGEST = $(addprefix tests/,test_score.py training test_drain.py test_reload.py \
	test_workers.py service/http/test_guard.py test_exactness.py test_openapi_fuzz.py test_road.py)

test: $(SERVICE)/installed $(TESTS)/installed $(KSERVE)/installed wrk prometheus lint
	$(TESTS)/bin/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(LONGEST) tests \
		$(ALONE:%=--ignore %) --ignore tests/image
	$(TESTS)/bin/pytest $(ALONE)

lint: $(TESTS)/installed $(CHECKOV)/installed
	$(TESTS)/bin/ruff format --check .
	$(TESTS)/bin/ruff check .
	$(TESTS)/bin/mypy
	$(TESTS)/bin/hadolint --failure-threshold warning Dockerfile
	$(CHECKOV)/bin/checkov --config-file k8s/.checkov.yaml --file Dockerfile
	$(CHECKOV)/bin/checkov --config-file k8s/.checkov.yaml --directory k8s

wrk:
	@command -v wrk || { apt-get update; apt-get install --yes wrk; } || \
		{ echo "wrk is missing and could not be installed: install it as root, on Debian with apt-get install wrk" >&2; exit 1; }

# Without what it recommends: a server of the machine's own figures.
prometheus:
	@{ command -v promtool && command -v prometheus; } || \
		{ apt-get update; apt-get install --yes --no-install-recommends prometheus; } || \
		{ echo "prometheus is missing and could not be installed: install it as root, on Debian with apt-get install prometheus" >&2; exit 1; }

IMAGE_TOOLS = buildah podman runc conmon mmdebstrap

image-test: $(TESTS)/installed image-tools
	$(TESTS)/bin/pytest tests/image --ignore tests/image/test_other_builds.py

# The keys of Debian's packages are on every Debian, and on few others.
image-tools:
	@docker info > /dev/null 2>&1 || \
		{ missing=$$(for tool in $(IMAGE_TOOLS); do command -v $$tool > /dev/null || echo $$tool; done); test -z "$$missing"; } || \
		{ apt-get update && apt-get install --yes --no-install-recommends $(IMAGE_TOOLS) debian-archive-keyring; } || \
		{ echo "no Docker daemon answers, and what stands in for one could not be installed: install as root, on Debian with" \
			"apt-get install $(IMAGE_TOOLS)" >&2; exit 1; }

bench: $(TESTS)/installed wrk
	$(TESTS)/bin/python -m benchmarks.serving
	$(TESTS)/bin/python -m benchmarks.report

bench-report: $(TESTS)/installed
	$(TESTS)/bin/python -m benchmarks.report

bench-rivals: $(SERVICE)/installed $(TESTS)/installed $(RIVALS:%=.venv-rival-%/installed) wrk
	$(SERVICE)/bin/python -m benchmarks.rivals
	$(TESTS)/bin/python -m benchmarks.report

bench-startup: $(TESTS)/installed
	$(TESTS)/bin/python -m benchmarks.startup

bench-exactness: $(TESTS)/installed
	$(TESTS)/bin/python -m benchmarks.exactness --requests 1000000

bench-overload bench-slow bench-workers bench-lifecycle bench-soak: bench-%: $(TESTS)/installed wrk
	$(TESTS)/bin/python -m benchmarks.$(patsubst slow,slow_clients,$*)
	$(TESTS)/bin/python -m benchmarks.report

bench-score: $(TESTS)/installed
	$(TESTS)/bin/python -m benchmarks.scoring
	$(TESTS)/bin/python -m benchmarks.report

train: $(TESTS)/installed
	$(TESTS)/bin/forwardpass train

docs: $(TESTS)/installed
	$(TESTS)/bin/python -m tests.documentation

# What the soak measures here is shown, and not kept in place of the figures of benchmarks/.
verify: $(TESTS)/installed wrk image-tools
	$(TESTS)/bin/forwardpass train --check
	$(TESTS)/bin/pytest tests/image/test_other_builds.py
	figures=$$(mktemp -d) && trap 'rm -r "$$figures"' EXIT && \
		$(TESTS)/bin/python -m benchmarks.soak --output "$$figures"

format: $(TESTS)/installed
	$(TESTS)/bin/ruff format .
	$(TESTS)/bin/ruff check --fix .

$(SERVICE)/installed: pyproject.toml requirements-cpu.lock requirements-batch.lock
	$(PYTHON) -m venv $(SERVICE)
	$(SERVICE)/bin/python $(PIP) --require-hashes -r requirements-cpu.lock -r requirements-batch.lock
	$(SERVICE)/bin/python $(PIP) --no-deps --editable .
	touch $@

# uv installs in seconds what takes pip minutes. It reads none of pip's settings, of which the index matters.
INDEX = $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2> /dev/null))
UV = $(TESTS)/bin/uv pip install --quiet --system-certs --compile-bytecode $(INDEX:%=--default-index %) --require-hashes

# torch stands in no lock: the same release has another hash, and other needs, on each index that builds it.
$(TESTS)/installed: pyproject.toml requirements-test.lock
	$(PYTHON) -m venv $(TESTS)
	sed --quiet '/^uv==/,/[^\]$$/p' requirements-test.lock | $(TESTS)/bin/python $(PIP) --require-hashes -r /dev/stdin
	$(UV) --python $(TESTS)/bin/python -r requirements-test.lock
	$(TESTS)/bin/python $(PIP) torch==2.13.0
	$(TESTS)/bin/python $(PIP) --no-deps --editable .
	touch $@

$(KSERVE)/installed $(CHECKOV)/installed: .venv-%/installed: requirements-%.lock $(TESTS)/installed
	$(PYTHON) -m venv --without-pip $(@D)
	$(UV) --python $(@D)/bin/python -r $<
	touch $@

.venv-rival-%/installed: benchmarks/rivals/%.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) --no-deps --requirement $<
	touch $@

# Without annotations and addresses, so that a lock says the same on every machine.
COMPILE = $(TESTS)/bin/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	--generate-hashes --universal --python-version 3.11 --upgrade

# Nothing of the rivals is shipped: their versions are pinned, their files' hashes would be 8,000 lines.
RIVAL_COMPILE = $(filter-out --generate-hashes,$(COMPILE))

lock: $(TESTS)/installed
	$(COMPILE) --extra cpu pyproject.toml --output-file requirements-cpu.lock
	for extra in cuda batch ray otel; do \
		$(COMPILE) --constraint requirements-cpu.lock --extra "$$extra" pyproject.toml \
			--output-file "requirements-$$extra.lock" || exit; done
	$(TESTS)/bin/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
		$(COMPILE) - --output-file requirements-build.lock
	echo checkov==3.3.30 | $(COMPILE) - --output-file requirements-checkov.lock
	printf '%s\n' kserve==0.21.0 cloudcoil-models-keda==2.16.1.0 cloudcoil-models-prometheus-operator==0.80.1.0 | \
		$(COMPILE) - --output-file requirements-kserve.lock
	for rival in bentoml==1.4.39 litserve==0.2.19 mlserver==1.7.1 mosec==0.9.8 'ray[serve]==2.60.0'; do \
		printf '%s\n' "$$rival" onnxruntime==1.31.1 | $(RIVAL_COMPILE) - \
			--output-file "benchmarks/rivals/$${rival%%[=[]*}.lock" || exit; done
	echo torch | $(COMPILE) --excludes - --extra cpu --extra batch --extra ray --extra otel --extra training --extra test \
		pyproject.toml --output-file requirements-test.lock

# A run that was killed leaves containers and mounts; nothing that is mounted there may be removed with the rest.
clean:
	test ! -d .image || podman --root "$(CURDIR)/.image/root" --runroot "$(CURDIR)/.image/run" --storage-driver overlay \
		rm --all --force --time 0 || :
	awk -v below="$(CURDIR)/.image/" '{ gsub(/\\040/, " ", $$5) } index($$5, below) == 1 { print $$5 }' /proc/self/mountinfo \
		2> /dev/null | sort --reverse | while read -r place; do umount "$$place" || exit; done
	rm -rf --one-file-system .image
	rm -rf $(SERVICE) $(TESTS) $(KSERVE) $(CHECKOV) $(RIVALS:%=.venv-rival-%)
