#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Says how a container runtime starts the container of a DaemonSet: podman's options, one a line.

    kubelet.py FILE [PATCH] VOLUME=DIR... FIELD=VALUE...

A VOLUME is one of the manifest's; FIELD is a path of the downward API, as metadata.name. PATCH is
merged into the DaemonSet as `kubectl patch` does it. What the manifest has and this does not know
is an error: a test must not pass by leaving something out.
The last lines are "--" and the container's arguments.
"""
import sys

import yaml

# Has no meaning for one container, or is what Kubernetes does around it.
IGNORED = {"name", "image", "ports", "readinessProbe", "resources"}
POD_IGNORED = {"serviceAccountName", "priorityClassName", "nodeSelector", "tolerations",
               "terminationGracePeriodSeconds", "hostNetwork", "dnsPolicy"}
SECURITY = {
    "runAsUser": lambda v: [],
    "runAsGroup": lambda v: [],
    "runAsNonRoot": lambda v: [],
    "privileged": lambda v: ["--privileged"] if v else [],
    "readOnlyRootFilesystem": lambda v: ["--read-only", "--read-only-tmpfs=false"] if v else [],
    "capabilities": lambda v: [f"--cap-drop={c}" for c in v.pop("drop", [])] +
                              [f"--cap-add={c}" for c in v.pop("add", [])],
}


def env_value(env, given):
    if "value" in env:
        return env["value"]
    return given[env["valueFrom"]["fieldRef"]["fieldPath"]]


def options(container, given):
    out = []
    security = container.pop("securityContext")
    out.append(f"--user={security['runAsUser']}:{security['runAsGroup']}")
    for key, value in security.items():
        out += SECURITY[key](value)
    for env in container.pop("env"):
        out += ["--env", f"{env['name']}={env_value(env, given)}"]
    for mount in container.pop("volumeMounts"):
        out += ["--volume", f"{given[mount['name']]}:{mount['mountPath']}"]
    out += ["--", *container.pop("args")]
    left = set(container) - IGNORED
    if left:
        sys.exit(f"kubelet.py: what is {', '.join(sorted(left))}?")
    return out


def merge(old, new):
    """Of maps the keys, of lists the entries by name; else the new one."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {k: merge(old.get(k), v) for k, v in new.items()}
    if not isinstance(old, list) or not isinstance(new, list):
        return new
    changed = {e["name"]: e for e in new}
    return [merge(e, changed.pop(e["name"])) if e["name"] in changed else e for e in old] + \
        list(changed.values())


def read(path):
    with open(path, encoding="utf-8") as f:
        return list(yaml.safe_load_all(f))


def main():
    files = [a for a in sys.argv[1:] if "=" not in a]
    given = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    (daemonset,) = [d for d in read(files[0]) if d["kind"] == "DaemonSet"]
    for path in files[1:]:
        (patch,) = read(path)
        daemonset = merge(daemonset, patch)
    spec = daemonset["spec"]["template"]["spec"]
    known = {v["name"] for v in spec.pop("volumes")}
    (container,) = spec.pop("containers")
    if set(spec) - POD_IGNORED:
        sys.exit(f"kubelet.py: what is {', '.join(sorted(set(spec) - POD_IGNORED))}?")
    if {m["name"] for m in container["volumeMounts"]} != known:
        sys.exit("kubelet.py: volumes and what is mounted differ")
    print("\n".join(options(container, given)))


main()
