#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Enrolment follows the labels, live: namespace label, pod label, opt-out.
#
#   client (a) in namespace demo
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
pod_manifest client demo client "app: client, istio.io/dataplane-mode: none"
check "the label none takes the pod out" busywait not_enrolled client
check "its rules are gone" busywait eval '[ -z "$(pod_exec client nft list tables)" ]'
is "it still reaches the server, in plain" "$(fetch client "http://${P4[server]}/")" hello
pod_manifest client
check "without the label it is in again" busywait enrolled client
manifest 00-namespace <<-YAML
	apiVersion: v1
	kind: Namespace
	metadata: {name: demo}
YAML
check "a namespace without the label has none in the mesh" busywait not_enrolled client
pod_manifest client demo client "app: client, istio.io/dataplane-mode: ambient"
check "but the pod that says so itself" busywait enrolled client
check "and only that one" not_enrolled server
finish
