# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

TIER ?= commit
SECONDS ?= 600
FAULTS ?= 0
# Labs still running, started here or in the synced copy
LABS = $(wildcard $(CURDIR)/build/lab/* $(CURDIR)/build/collections/ansible_collections/ipsec/manual/build/lab/*)

.PHONY: help demo test bench faults fuzz docs docs-command docs-findings release clean
help:
	@echo 'make demo    two hosts on a real kernel: keys, SAs, policies, traffic, rotation'
	@echo 'make test    every gate, and a part of the long ones, others with each commit; TIER=all: all of them,'
	@echo '             TIER=quick: lint, unit, docs in five minutes, or static, pythons, kernel, lab, e2e, leak, ...'
	@echo 'make bench   its cost, relative to the cost of the kernel itself, into build/bench.json'
	@echo 'make faults  every fault at every place of a rotation, and ten rotations in a row under full traffic;'
	@echo '             some of the faults with ONLY=part-of-a-name or FAULTS=count, drawn with SEED=word'
	@echo 'make fuzz    coverage-guided broken input for the language; SECONDS=600'
	@echo 'make docs    the docs site, into build/docs/html'
	@echo 'make docs-command  docs/ipseckey.* and the page of the command, from its tables'
	@echo 'make docs-findings  the tables of findings on the page of the audit, from its table'
	@echo 'make release the artifact, its bill of materials and the manifest to sign, into build/release'
	@echo 'make clean   remove all results: build/ and .venv*/'
	@echo 'Missing packages are installed first if you are root, otherwise they are listed.'

demo:
	@tests/setup lab && tests/run exec demo/demo "$(CURDIR)/build/demo"

test:
	@tests/run $(TIER)

bench:
	@tests/setup lab bench && tests/run exec tests/bench/bench --output $(CURDIR)/build/bench.json

faults:
	@tests/setup lab && tests/run exec env FAULTS="$(FAULTS)" ONLY="$(ONLY)" THOROUGH=1 python -m pytest -v -rP \
	    tests/faults $(if $(ONLY),,tests/e2e/test_traffic.py)

fuzz:
	@tests/run exec nox --error-on-missing-interpreters -s fuzz -- --seconds $(SECONDS)

docs:
	@tests/run docs && echo 'build/docs/html/index.html'

docs-command:
	@python3 -B tests/docs/command.py

docs-findings:
	@python3 -B tests/docs/findings.py

release:
	@tests/setup release && PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -B tests/release/release.py

clean:
	@for lab in $(LABS); do $${lab%/build/lab/*}/tests/lab/lab down --name $${lab##*/}; done
	@rm -rf build .venv .venv-* .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage tests/output
