#!/bin/bash
# How long a lab of 36 and of 300 workloads on three hosts takes to come up: median of several.
# The workloads are dual stack; half of the namespaces are policed.
#
#   bench/lab.sh [path of ocicat] [times]
set -euo pipefail

# Where the build puts it, whatever that was told.
built() { cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }
ocicat=$(realpath "${1:-$(built)/release/ocicat}")
times=${2:-9}
[ "$(id -u)" = 0 ] || { echo "A lab needs root: it is made of network namespaces." >&2; exit 3; }
folder=$(mktemp -d)
lab=bench-$$
trap '"$ocicat" lab down --name "$lab" >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT

# Six namespaces, each a Deployment of so many replicas; three of them with a policy.
manifests() {
    local replicas=$1 n
    for n in 1 2 3 4 5 6; do
        cat <<YAML
---
{apiVersion: v1, kind: Namespace, metadata: {name: team-$n, labels: {team: "$n"}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team-$n}
spec:
  replicas: $replicas
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
YAML
        [ $((n % 2)) = 0 ] || cat <<YAML
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: team-$n}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: "$((n % 6 + 1))"}}}], ports: [{port: http}]}]
  egress: [{to: [{namespaceSelector: {}}]}]
YAML
    done
}

for workloads in 36 300; do
    manifests $((workloads / 6)) >"$folder/lab.yaml"
    taken=()
    for _ in $(seq "$times"); do
        start=$(date +%s%N)
        "$ocicat" lab up -f "$folder/lab.yaml" --hosts 3 --name "$lab" >/dev/null 2>"$folder/log" ||
            { cat "$folder/log" >&2; exit 1; }
        end=$(date +%s%N)
        "$ocicat" lab down --name "$lab" >/dev/null 2>&1
        taken+=($(((end - start) / 1000000)))
    done
    mapfile -t sorted < <(printf '%s\n' "${taken[@]}" | sort -n)
    echo "$workloads workloads on 3 hosts: median ${sorted[$((times / 2))]} ms," \
        "least ${sorted[0]} ms, most ${sorted[-1]} ms, of $times"
done
