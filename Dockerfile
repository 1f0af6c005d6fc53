# Builds the server and the demo page. It needs BuildKit, the default since Docker 23.

FROM rust:1-bookworm AS server
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY migrations migrations
COPY src src
COPY crates crates
COPY fuzz fuzz
# These are not built here, but Cargo.toml names them.
COPY tests tests
COPY benches benches
# Cargo's downloads and build output stay in a cache, so a change of src compiles only src.
# Without the demo's sign-in; `--build-arg FEATURES=demo` has it, as docker-compose.yml says.
ARG FEATURES=""
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features --features "$FEATURES" --bin discussions && cp target/release/discussions /usr/local/bin/

FROM node:22-bookworm-slim AS page
WORKDIR /page
ENV NEXT_TELEMETRY_DISABLED=1
COPY frontend-client/ ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund && npm run build:demo

FROM debian:bookworm-slim
# TLS connections to PostgreSQL and Redis need the certificates.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --no-create-home --shell /usr/sbin/nologin discussions
COPY --from=server /usr/local/bin/discussions /usr/local/bin/discussions
COPY --from=page /page/demo/out /srv/demo
ENV BIND_ADDR=0.0.0.0:8000 METRICS_ADDR=0.0.0.0:9000 LOG_FORMAT=json STATIC_DIR=/srv/demo
EXPOSE 8000 9000
USER discussions
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["discussions", "health"]
ENTRYPOINT ["discussions"]
CMD ["serve"]
