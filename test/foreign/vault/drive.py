"""Drives the Vault emulator with hvac, a client that others wrote: prints one JSON object of what it saw."""

import json
import sys

import hvac

url, jwt, root_token = sys.argv[1:4]
seen = {}

client = hvac.Client(url=url)
login = client.auth.jwt.jwt_login(role="reader", jwt=jwt, path="jwt")
seen["lease_duration"] = login["auth"]["lease_duration"]
seen["renewable"] = login["auth"]["renewable"]
accessor = login["auth"]["accessor"]
client.token = login["auth"]["client_token"]

seen["authenticated"] = client.is_authenticated()
seen["lookup_accessor_equal"] = client.auth.token.lookup_self()["data"]["accessor"] == accessor
seen["renewed_to"] = client.auth.token.renew_self(increment="600s")["auth"]["lease_duration"]

creds = client.secrets.database.generate_credentials(name="readonly")
seen["credential_members"] = sorted(creds["data"])
seen["lease_looked_up"] = client.sys.read_lease(lease_id=creds["lease_id"])["data"]["id"] == creds["lease_id"]
seen["lease_renewed_to"] = client.sys.renew_lease(lease_id=creds["lease_id"], increment=900)["lease_duration"]

wrapping = client.sys.wrap(payload={"username": "u"}, ttl=60)["wrap_info"]["token"]
seen["unwrapped"] = client.sys.unwrap(token=wrapping)["data"]
try:
    client.sys.unwrap(token=wrapping)
    seen["unwrap_twice"] = "worked"
except hvac.exceptions.VaultError as error:
    seen["unwrap_twice"] = type(error).__name__

try:
    client.secrets.database.generate_credentials(name="forbidden")
    seen["forbidden"] = "worked"
except hvac.exceptions.VaultError as error:
    seen["forbidden"] = type(error).__name__

root = hvac.Client(url=url, token=root_token)
seen["looked_up"] = root.auth.token.lookup_accessor(accessor)["data"]["accessor"] == accessor
root.auth.token.revoke_accessor(accessor)
seen["authenticated_after_revocation"] = client.is_authenticated()
try:
    root.auth.token.revoke_accessor(accessor)
    seen["revoke_twice"] = "worked"
except hvac.exceptions.VaultError as error:
    seen["revoke_twice"] = type(error).__name__

created = root.auth.token.create(ttl="60s", role_name="reader")
seen["created_ttl"] = created["auth"]["lease_duration"]
try:
    hvac.Client(url=url).auth.jwt.jwt_login(role="reader", jwt="not.a.jwt", path="jwt")
    seen["bad_login"] = "worked"
except hvac.exceptions.VaultError as error:
    seen["bad_login"] = type(error).__name__
print(json.dumps(seen))
