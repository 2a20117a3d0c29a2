# Every command works on a machine with Node and npm; the project brings the Node that it runs on.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Exactly the lockfile on a fresh machine and in CI; brought up to date in a working tree.
node_modules/.installed: package.json package-lock.json
	@if [ -n "$$CI" ] || [ ! -d node_modules ]; then npm ci --loglevel=error; else npm install --loglevel=error; fi
	@touch $@

.PHONY: help sdk run test demo check bench openapi schemas migrations lint clean
help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

run: node_modules/.installed ## install what is missing and run the broker (SQLite, development configuration)
	@npm run --silent start

test: node_modules/.installed ## install what is missing and run all tests
	@npm run --silent test

demo: node_modules/.installed ## the whole story against running processes
	@npm run --silent demo

check: node_modules/.installed ## exactly what CI runs
	@npm run --silent lint
	@npm run --silent typecheck
	@npm run --silent check:generated
	@$(MAKE) --no-print-directory test

bench: node_modules/.installed ## figures as JSON lines
	@npm run --silent bench

openapi: node_modules/.installed ## write openapi.yaml from the route table
	@npm run --silent openapi

schemas: node_modules/.installed ## write the JSON Schemas for configuration and template files
	@npm run --silent schemas

migrations: node_modules/.installed ## write a migration from the store's schema
	@npm run --silent migrations

sdk: node_modules/.installed ## pack @sortie/resource and @sortie/agent
	@npm run --silent sdk
