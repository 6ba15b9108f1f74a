"""Falco's own client for Python (the package `falco`), as its users start it.

falcos_client.py ENDPOINT version      prints the version
falcos_client.py ENDPOINT get          prints the alerts of `get`
falcos_client.py ENDPOINT sub COUNT    prints COUNT alerts of `sub`
"""

import json
import sys

import falco

endpoint, mode, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
client = falco.Client(endpoint=endpoint)
if mode == "version":
    print(json.dumps({"version": client.version().version}))
    sys.exit()
for seen, alert in enumerate(client.get() if mode == "get" else client.sub(), 1):
    print(json.dumps({"rule": alert.rule, "output": alert.output}), flush=True)
    if mode == "sub" and seen == int(rest[0]):
        break
