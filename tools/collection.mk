# SPDX-License-Identifier: Apache-2.0
# Targets of the collection; the Makefile includes this. Commands come from $(BIN).
BIN ?= .venv/bin
COLLECTION := .build/ansible_collections/thermostat/openstack
IN_COLLECTION := cd $(COLLECTION) && ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/.build PATH=$(abspath $(BIN)):$$PATH

.PHONY: dist collection galaxy

dist:  ## build the services' wheel into the collection's roles
	@$(BIN)/python tools/dist.py

collection: dist  ## copy the collection to .build/, where Ansible finds it
	@$(BIN)/python tools/collection.py

galaxy: collection  ## build the archive that Galaxy takes, into dist/
	@$(BIN)/ansible-galaxy collection build --force --output-path dist $(COLLECTION)
