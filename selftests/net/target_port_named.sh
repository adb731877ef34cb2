#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# targetPort by name: each pod may have the port elsewhere.
#
#   client --> 10.96.0.1:80 --> web-1:8081 or web-2:8082
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx
nodes a b
pod a client
pod a web-1
pod b web-2
mesh_defaults
pod_manifest client
pod_manifest web-1 demo web "app: web" "{name: http, containerPort: 8081}"
pod_manifest web-2 demo web "app: web" "{name: http, containerPort: 8082}"
http_server web-1 8081
http_server web-2 8082
service_manifest web 10.96.0.1 "app: web" "{name: http, port: 80, targetPort: http}"
agents_start
got=$(for i in $(seq 40); do fetch client http://10.96.0.1/; done | sort | uniq -c)
diag "$got"
like "web-1 answers on its 8081" "$got" "web-1"
like "web-2 answers on its 8082" "$got" "web-2"
is "none was lost" "$(awk '{ s += $1 } END { print s }' <<<"$got")" 40
finish
