"""Checks docs/proxies/traefik.yml against tests/traefik.schema.json, and that all names in it lead somewhere."""

import json
import sys

import jsonschema
import yaml

with open("tests/traefik.schema.json") as schema, open("docs/proxies/traefik.yml") as configuration:
    settings = yaml.safe_load(configuration)
    jsonschema.Draft202012Validator(json.load(schema)).validate(settings)
http = settings["http"]
routers, services = http["routers"].values(), http["services"]
used = {
    "middlewares": {name for router in routers for name in router.get("middlewares", [])},
    "services": {router["service"] for router in routers},
    "serversTransports": {service["loadBalancer"]["serversTransport"] for service in services.values() if "serversTransport" in service["loadBalancer"]},
}
for kind, names in used.items():
    if names != set(http[kind]):
        sys.exit(f"docs/proxies/traefik.yml: {kind} has {sorted(http[kind])}, and {sorted(names)} are used")
