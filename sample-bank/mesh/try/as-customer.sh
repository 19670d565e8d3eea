#!/usr/bin/env bash
# Asks the bank as one of the demo's customers, and prints the answer.
#
#   as-customer.sh STATE NUMBER PATH
#
# STATE is the folder of the running demo, NUMBER a customer from 0 (the page's) to 23; `{account}` in PATH becomes the id
# of its first account.
set -euo pipefail
(($# == 3)) || {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
# One line: gateway, sign-in as JSON, account.
IFS=$'\t' read -r gateway credentials account < <(python3 - "$1" "$2" <<'PY'
import json, sys
state, number = sys.argv[1], int(sys.argv[2])
gateway = json.load(open(f"{state}/bank.json"))["gateway"]
who = json.load(open(f"{state}/customers.json"))["customers"][number]
print(gateway, json.dumps({"customer": who["id"], "secret": who["secret"]}), who["accounts"][0]["id"], sep="\t")
PY
)
session=$(curl -fsS -H 'content-type: application/json' -d "$credentials" "$gateway/v1/sessions")
token=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])' <<<"$session")
curl -fsS -H "authorization: Bearer $token" "$gateway${3//\{account\}/$account}"
echo
