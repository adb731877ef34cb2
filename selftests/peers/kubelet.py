#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Says how a container runtime starts the container of a DaemonSet: podman's options, one a line.

    kubelet.py FILE VOLUME=DIR... FIELD=VALUE...

A VOLUME is one of the manifest's; FIELD is a path of the downward API, as metadata.name. What the
manifest has and this does not know is an error: a test must not pass by leaving something out.
The last lines are "--" and the container's arguments.
"""
import sys

import yaml

# Has no meaning for one container, or is what Kubernetes does around it.
IGNORED = {"name", "image", "ports", "readinessProbe", "resources"}
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


def main():
    given = dict(a.split("=", 1) for a in sys.argv[2:])
    with open(sys.argv[1], encoding="utf-8") as f:
        sets = [d for d in yaml.safe_load_all(f) if d["kind"] == "DaemonSet"]
    spec = sets[0]["spec"]["template"]["spec"]
    known = {v["name"] for v in spec["volumes"]}
    (container,) = spec["containers"]
    if {m["name"] for m in container["volumeMounts"]} != known:
        sys.exit("kubelet.py: volumes and what is mounted differ")
    print("\n".join(options(container, given)))


main()
