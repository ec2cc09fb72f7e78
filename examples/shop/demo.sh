#!/bin/bash
# Builds the lab of examples/shop, proves with real packets that its policy holds, explains two
# verdicts, and takes the lab down, whatever happens. Fails if one probe disagrees with policy.
#
#   examples/shop/demo.sh [path of ocicat]
set -euo pipefail
cd "$(dirname "$0")/../.."

# Where the build puts it, whatever that was told.
built() { cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }
ocicat=$(realpath "${1:-$(built)/release/ocicat}")
lab=demo-$$
shop=examples/shop

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'; fi
title() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
show() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; "$ocicat" "${@:2}"; }

if [ "$(id -u)" != 0 ]; then
    echo "The demo needs root: a lab is made of network namespaces." >&2
    exit 3
fi
trap 'title "The lab goes, and leaves nothing"; show ocicat lab down --name "$lab"' EXIT
# The command at work hears of it too; we go on to the end of the script, which is the trap.
trap 'exit 130' INT TERM

title "A web shop on three hosts, with a machine outside the cluster"
show ocicat lab up -f "$shop" --name "$lab"

title "Real packets between all workloads, on every port, over TCP and UDP, IPv4 and IPv6"
show ocicat lab probe --name "$lab"

title "Why may the web pages call the API?"
show ocicat why -f "$shop" -n shop deploy/web deploy/api:9000

title "Why may the back office not?"
# Exit code 1 is the answer "no".
show ocicat why -f "$shop" -n shop office/backoffice deploy/api:9000 || [ $? = 1 ]
