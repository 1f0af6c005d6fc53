# The main commands are `make run` and `make test`. The commands are implemented in scripts/.

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

run: ## start everything on http://127.0.0.1:8000 (Ctrl-C stops it)
	@scripts/run.sh

test: ## run every test: Rust, client, browser
	@scripts/test.sh

test-rust: ## run only the Rust tests
	@scripts/test.sh rust

test-client: ## run only the client's tests
	@scripts/test.sh client

sqlx: ## write .sqlx again, after changing a query or a migration
	@scripts/sqlx.sh write

sqlx-check: ## fail if .sqlx differs from the queries
	@scripts/sqlx.sh check

openapi: ## write openapi/openapi.json again, then the generated client
	@scripts/openapi.sh write

openapi-check: ## fail if openapi.json differs from the server's document
	@scripts/openapi.sh check

generate: ## write the generated part of the client again
	@scripts/npm-ci.sh
	@cd frontend-client && npm run --silent generate

fmt: ## format the Rust code
	@cargo fmt --all

lint: ## run all lints as CI does: formatting, clippy, rustdoc, dependencies, client
	@scripts/lint.sh

bench: ## measure everything and write docs/performance.md again; STAGES=requests for a part
	@scripts/bench.sh $(STAGES)

abuse: ## attack a server, and print what ordinary users notice; ATTACKS=write-flood for one alone
	@scripts/abuse.sh $(ATTACKS)

chaos: ## kill nodes, Redis and PostgreSQL under load, and look for lost events
	@scripts/chaos.sh

clean: ## remove build output and the private databases
	@scripts/clean.sh

.PHONY: help run test test-rust test-client sqlx sqlx-check openapi openapi-check generate fmt lint bench abuse chaos clean
