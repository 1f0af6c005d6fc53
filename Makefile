# The two that matter: `make run` and `make test`. What each does stands in scripts/.

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

run: ## start everything on http://127.0.0.1:8000 (Ctrl-C stops it)
	@scripts/run.sh

test: ## every test: Rust, client, browser
	@scripts/test.sh

test-rust: ## the Rust tests alone
	@scripts/test.sh rust

test-client: ## the client's tests alone
	@scripts/test.sh client

sqlx: ## write .sqlx anew, after changing a query or a migration
	@scripts/sqlx.sh write

sqlx-check: ## fail if .sqlx is not what the queries say
	@scripts/sqlx.sh check

openapi: ## write openapi/openapi.json anew, then the generated client
	@scripts/openapi.sh write

openapi-check: ## fail if openapi.json is not what the server says
	@scripts/openapi.sh check

generate: ## write the generated part of the client anew
	@scripts/npm-ci.sh
	@cd frontend-client && npm run --silent generate

fmt: ## format the Rust code
	@cargo fmt --all

lint: ## formatting, clippy, rustdoc, unused and unwanted dependencies, the client's lints, as CI has them
	@scripts/lint.sh

bench: ## measure the speed of it all, and write docs/performance.md anew; STAGES=requests for a part
	@scripts/bench.sh $(STAGES)

abuse: ## attack a server, and print what ordinary users notice; ATTACKS=write-flood for one alone
	@scripts/abuse.sh $(ATTACKS)

chaos: ## kill nodes, Redis and PostgreSQL under load, and look for a lost event
	@scripts/chaos.sh

clean: ## remove what was built and the private databases
	@scripts/clean.sh

.PHONY: help run test test-rust test-client sqlx sqlx-check openapi openapi-check generate fmt lint bench abuse chaos clean
