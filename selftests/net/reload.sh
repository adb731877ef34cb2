#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Manifests are picked up live; a bad document is told with file, line, object, field and
# reason, and the last good state of that object stays.
#
#   client (a) --> 10.96.0.1 --> server (b)
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

two_pods
service_manifest web 10.96.0.1 "app: server" "{port: 80}"
check "a new service is there" busywait fetches client http://10.96.0.1/
from=$(log_lines a)
manifest service-web <<-YAML
	apiVersion: v1
	kind: Service
	metadata: {name: web, namespace: demo}
	spec:
	  clusterIP: 10.96.0.1
	  selector: {app: server}
	  ports: [{port: 80, targetPort: 99999}]
YAML
check "the error names file, object, field" wait_log a \
	'service-web\.yaml:[0-9]+.*Service demo/web.*targetPort' "$from"
is "the last good state stays" "$(fetch client http://10.96.0.1/)" hello
is "validate finds it without a daemon" "$("$AMBIENTCTL" validate "$MANIFESTS" >/dev/null 2>&1; echo $?)" 1
is "as JSON too" "$("$AMBIENTCTL" validate -o json "$MANIFESTS" >/dev/null 2>&1; echo $?)" 1
like "and says the same" "$("$AMBIENTCTL" validate "$MANIFESTS" 2>&1)" \
	'service-web\.yaml:[0-9]+.*Service demo/web.*targetPort'
from=$(log_lines a)
manifest service-web <<<'kind: [unclosed'
check "broken YAML is told" wait_log a 'service-web\.yaml:[0-9]+' "$from"
is "its objects stay" "$(fetch client http://10.96.0.1/)" hello
service_manifest other 10.96.0.2 "app: server" "{port: 80}"
check "other files are read on" busywait fetches client http://10.96.0.2/
manifest_remove service-web
gone() { ! config_dump a | jq -e '.services[] | select(.name == "web")' >/dev/null; }
check "a removed file removes the service" busywait gone
is "validate is content now" "$("$AMBIENTCTL" validate "$MANIFESTS" >/dev/null 2>&1; echo $?)" 0
for i in $(seq 30); do
	service_manifest "many-$i" "10.96.1.$i" "app: server" "{port: 80}"
done
all() {
	[ "$(config_dump a |
		jq '[.services[] | select(.name | startswith("many-"))] | length')" = 30 ]
}
check "many files at once" busywait all
finish
