#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Pods that have no IPv4 address at all.
#
#   client fd11::10 ==15008== server fd12::10
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

need_agent
need nginx
nodes a b
pod a client v6
pod b server v6
mesh_defaults
pod_manifest client
pod_manifest server
service_manifest web fd96::1 "app: server" "{name: http, port: 8000, targetPort: 80}"
http_server server 80 hello
agents_start
is "by address" "$(fetch client "http://[${P6[server]}]/")" hello
is "by service" "$(fetch client "http://[fd96::1]:8000/")" hello
finish
