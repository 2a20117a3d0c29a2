"""Unwraps with hvac what the provider delivered: prints one JSON object of what it saw."""

import json
import sys

import hvac

url, wrapping_token = sys.argv[1:3]
client = hvac.Client(url=url)
seen = {}
try:
    seen["data"] = client.sys.unwrap(token=wrapping_token)["data"]
except hvac.exceptions.VaultError as error:
    seen["refused"] = type(error).__name__
print(json.dumps(seen))
