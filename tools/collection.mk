# SPDX-License-Identifier: Apache-2.0
# The collection's targets; the Makefile includes this.

COLLECTION := .build/ansible_collections/thermostat/openstack
IN_COLLECTION := cd $(COLLECTION) && \
    export ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/.build PATH=$(CURDIR)/.venv/bin:$$PATH &&

.PHONY: dist collection galaxy
dist: venv ## Build the services' wheel into the collection's roles
	@$(PYTHON) tools/dist.py

collection: dist ## Copy the collection to .build, where Ansible finds it
	@$(PYTHON) tools/collection.py

galaxy: collection ## Build the archive that Galaxy takes, into dist
	@.venv/bin/ansible-galaxy collection build --force --output-path dist $(COLLECTION)

# They may run beside other tests, so what they say goes to a log, which is shown where one fails.
LOG = .build/$@.log
LOGGED = >$(CURDIR)/$(LOG) 2>&1 || { cat $(CURDIR)/$(LOG); exit 1; }

.PHONY: test-collection test-collection-unit test-collection-lint test-sanity
test-collection: test-collection-unit test-collection-lint test-sanity ## Test the collection without a cloud

test-collection-unit: collection ## Run the unit tests of plugins and roles
	$(say) "unit tests of the collection; their log is $(LOG)"
	@$(IN_COLLECTION) python -m pytest -q -p no:cacheprovider tests/unit $(LOGGED)

test-collection-lint: collection ## Run ansible-lint and lint documentation and changelog fragments
	$(say) "ansible-lint --profile production, antsibull-docs, antsibull-changelog; log: $(LOG)"
	@{ $(IN_COLLECTION) ansible-lint --offline --profile production -q && \
	    antsibull-docs lint-collection-docs --plugin-docs . && antsibull-changelog lint; } $(LOGGED)

test-sanity: collection ## Run ansible-test sanity (the first time it makes its own environments)
	$(say) "ansible-test sanity; its log is $(LOG)"
	@$(PYTHON) tools/sanity.py --color no $(LOGGED)
