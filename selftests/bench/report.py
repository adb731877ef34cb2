#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians of the bench's rows: bench.json, and the table with the project's bars."""

import argparse
import json
import statistics
import sys
from collections import defaultdict

# (case, metric, better direction, bar on the ratio to the base; None: shown without a bar)
TUNNEL = [
    ("rr64x1", "p50_us", "<=", 2.1),
    ("rr64x1awake", "p50_us", "<=", 3.3),
    ("rr64x16", "rate", ">=", 0.30),
    ("rr64x16", "machine_cpu_us", "<=", 2.8),
    ("rr64x64", "rate", ">=", None),
    ("rr64x64", "machine_cpu_us", "<=", None),
    ("bulk1", "gbps", ">=", 0.38),
    ("bulk1", "machine_cpu_s_per_gb", "<=", 3.1),
    ("bulk8", "gbps", ">=", 0.32),
    ("bulk8", "machine_cpu_s_per_gb", "<=", 3.1),
    ("crr1", "p50_us", "<=", None),
    ("crr16", "rate", ">=", 0.30),
    ("crr16", "machine_cpu_us", "<=", 2.6),
    ("http64", "rate", ">=", 0.32),
    ("http64", "p99_us", "<=", 3.5),
]
PROGRAMS_BARS = {
    ("rr64x16", "rate"): 0.43, ("bulk1", "gbps"): 0.42, ("bulk8", "gbps"): 0.42,
    ("crr16", "rate"): 0.42,
}
DIRECT = [
    ("rr64x1", "p50_us", "<=", 1.05),
    ("rr64x1", "mean_us", "<=", 1.05),
    ("rr64x1awake", "p50_us", "<=", 1.05),
    ("rr64x1awake", "mean_us", "<=", 1.05),
    ("rr64x16", "p50_us", "<=", 1.05),
    ("rr64x16", "mean_us", "<=", 1.05),
    ("rr64x16", "machine_cpu_us", "<=", 1.05),
    ("bulk1", "gbps", ">=", 0.95),
    ("bulk1", "machine_cpu_s_per_gb", "<=", 1.05),
    ("bulk8", "gbps", ">=", 0.95),
    ("bulk8", "machine_cpu_s_per_gb", "<=", 1.05),
    ("crr1", "p50_us", "<=", 1.15),
    ("crr16", "rate", ">=", 0.85),
    ("crr16", "machine_cpu_us", "<=", 1.15),
]
SPLICE = [
    ("rr64x1", "p50_us", "<=", 0.65),
    ("rr64x1", "mean_us", "<=", 0.65),
    ("rr64x1awake", "p50_us", "<=", 0.65),
    ("rr64x1awake", "mean_us", "<=", 0.65),
    ("bulk1", "gbps", ">=", None),
    ("bulk1", "machine_cpu_s_per_gb", "<=", None),
    ("crr16", "rate", ">=", None),
]
PASSTHROUGH = [
    ("rr64x1", "p50_us", "<=", 1.05),
    ("rr64x16", "mean_us", "<=", 1.05),
    ("bulk1", "gbps", ">=", 0.95),
    ("crr16", "rate", ">=", 0.90),
]
# Who carries a tunnel: the agent, the agent over kernel TLS, the module.
CARRIED = [
    ("rr64x1", "p50_us", "<=", None),
    ("rr64x16", "p50_us", "<=", None),
    ("rr64x16", "machine_cpu_us", "<=", None),
    ("bulk1", "gbps", ">=", None),
    ("bulk1", "machine_cpu_s_per_gb", "<=", None),
    ("bulk8", "gbps", ">=", None),
    ("bulk8", "machine_cpu_s_per_gb", "<=", None),
    ("crr1", "p50_us", "<=", None),
]
KMOD_TO_KTLS = {("bulk1", "gbps"): 1.3, ("bulk8", "gbps"): 1.3}
KMOD_TO_USER = {("bulk1", "gbps"): 1.5, ("bulk8", "gbps"): 1.5,
                ("rr64x1", "p50_us"): 0.85, ("rr64x16", "p50_us"): 0.85}


def with_bars(bars):
    return [(c, m, d, bars.get((c, m))) for c, m, d, _ in CARRIED]


# way, what it is compared with, bars
RATIO_BARS = [
    ("tunnel-nft", "plain", TUNNEL),
    ("tunnel", "plain", [(c, m, d, PROGRAMS_BARS.get((c, m))) for c, m, d, _ in TUNNEL]),
    ("direct", "plain-node", DIRECT),
    ("splice", "plain-node", SPLICE),
    ("passthrough-out", "plain", PASSTHROUGH),
    ("passthrough-in", "plain", PASSTHROUGH),
    ("relay", "plain", CARRIED),
    ("tunnel-user", "relay", CARRIED),
    ("tunnel-ktls", "tunnel-user", CARRIED),
    ("tunnel-kmod", "tunnel-ktls", with_bars(KMOD_TO_KTLS)),
    ("tunnel-kmod", "tunnel-user", with_bars(KMOD_TO_USER)),
]
# way, what it is compared with, bar on the ratio of the rates of crr16
POLICY_BARS = [
    ("tunnel-nft-10000", "tunnel-nft-0", 0.97),
    ("tunnel-10000", "tunnel-0", None),
    ("direct-1000", "direct-0", 0.95),
]
# case, title, way, metric, unit, bar (at most)
ABSOLUTE_BARS = [("crr16", "agents, a direct connection", "direct", "agent_cpu_us", "us", 10)]
for _way, _by, _bars in (("tunnel-nft", "nft", True), ("tunnel", "bpf", False)):
    ABSOLUTE_BARS += [(c, f"{t}, {_by}", f"{_way}{w}", m, u, b if _bars else None)
                      for c, t, w, m, u, b in [
        ("idle", "agent at rest, a", "-a", "rss_kb", "KB", 8192),
        ("idle", "agent at rest, b", "-b", "rss_kb", "KB", 8192),
        ("idle", "a connection, a", "-a", "bytes_per_conn", "B", 614),
        ("idle", "a connection, b", "-b", "bytes_per_conn", "B", 614),
        ("idle", "left after, a", "-a", "rss_kb_over_idle_after", "KB", 2048),
        ("idle", "left after, b", "-b", "rss_kb_over_idle_after", "KB", 2048),
        ("pods", "an enrolled pod", "", "bytes_per_pod", "B", 20480),
        ("scale", "ready, small mesh", "-small", "ready_ms", "ms", 200),
        ("scale", "ready, 10 000", "-10000", "ready_ms", "ms", 200),
        ("scale", "10 000 workloads", "-10000", "rss_kb_more", "KB", 10240),
    ]]
ABSOLUTE_BARS += [
    ("xds", "10 000 workloads", "full", "rss_kb_more", "KB", 10240),
    ("xds", "updates, each second", "churn", "updates_per_s", "/s", None),
    ("enrol", "a pod, bpf", "tunnel", "ms", "ms", 5),
    ("pods", "maps, 200 + 10 000, bpf", "tunnel", "bpf_kb", "KB", 8192),
]
# Agents have no part in what the module carries; housekeeping is theirs.
for _case in ("bulk1", "bulk8"):
    ABSOLUTE_BARS += [
        (_case, "agents' calls, kmod", "tunnel-kmod", "agent_calls_beyond_rest_per_gb", "/GB", 100),
        (_case, "agents' CPU, kmod", "tunnel-kmod", "agent_machine_pct", "%", 1),
    ]
# Between the policy and the reset of a live connection, from when the agent may have it in force.
CUT_BAR = 100
# What an agent's restart may add to what a round trip waits at most, of those that it carries on.
RESTART_BAR = 50
COLD_BAR = 1100
# Milliseconds that a full mesh is ready after an empty one; what updates may add to round trips.
# They come in bursts, of which a median knows little: the mean and the agents' CPU have them all.
XDS_READY_BAR = 200
XDS_CHURN_BARS = [("p50_us", 1.10), ("mean_us", 1.10), ("agent_cpu_us", None)]
PAIR_WAYS = ["relay", "tunnel-user", "tunnel-ktls", "tunnel-kmod"]
FIGURES = ["gbps", "rate", "p50_us", "p99_us"] + [
    f"{m}{per}" for m, per in (
        ("machine_cpu", "_us"), ("machine_cpu_s", "_per_gb"),
        ("agent_cpu", "_us"), ("agent_cpu_s", "_per_gb"))
] + ["machine_switches", "machine_switches_per_gb", "copies_per_byte", "agent_machine_pct"] + [
    f"agent_{what}{per}" for what in ("calls", "calls_beyond_rest", "waits", "instructions")
    for per in ("", "_per_s", "_per_gb")]
WIDTH = 24


def verdict(value, direction, bar):
    if bar is None:
        return "", True
    good = value >= bar if direction == ">=" else value <= bar
    return f"{'ok  ' if good else 'MISS'} {direction} {bar:g}", good


def drawn(value, bar):
    """A bar to scale, with the limit marked in it."""
    full = max(value, bar or 0) * 1.1 or 1
    cells = ["█" if i < round(value / full * WIDTH) else " " for i in range(WIDTH)]
    if bar:
        cells[min(WIDTH - 1, round(bar / full * WIDTH))] = "|"
    return "".join(cells)


def line(title, left, right, value, direction, bar):
    text, good = verdict(value, direction, bar)
    print(f"{title:<36}{left:>11}{right:>11}{number(value):>10}  {drawn(value, bar)} {text}")
    return good


def number(v):
    return f"{v:,.0f}".replace(",", " ") if abs(v) >= 1000 else f"{v:.3g}"


def ratio(values, case, way, base, metric):
    """The median of the rounds' ratios: what drifts from round to round cancels out."""
    of, to = values[case, way, metric], values[case, base, metric]
    if len(of) == len(to):
        return statistics.median(a / b for a, b in zip(of, to) if b)
    return statistics.median(of) / statistics.median(to)


def head(left, right, what):
    print(f"\n{'':<36}{left:>11}{right:>11}{what:>10}")


def short(way):
    if way in PAIR_WAYS:
        return way.removeprefix("tunnel-")
    return way[-10:] if way.startswith("passthrough") else way


def figures(median):
    """All figures of the ways that tell who carries a tunnel, beside each other."""
    ways = [w for w in ["plain"] + PAIR_WAYS if any(k[1] == w for k in median)]
    if not any(w in ways for w in PAIR_WAYS):
        return
    print(f"\n{'':<36}" + "".join(f"{short(w):>11}" for w in ways))
    cases = dict.fromkeys(k[0] for k in median if k[1] in ways)
    for case, metric in ((c, m) for c in cases for m in FIGURES):
        row = [median.get((case, w, metric)) for w in ways]
        if any(v is not None for v in row):
            print(f"{case + ' ' + metric:<36}" +
                  "".join(f"{'-' if v is None else number(v):>11}" for v in row))
    for what in ("calls", "instructions"):
        if any(k[2] == "agent_machine_pct" for k in median) and \
                not any(k[2].startswith(f"agent_{what}") for k in median):
            print(f"Agents' {what} are not countable here.")


def ratios(values, median):
    good = True
    for way, base, bars in RATIO_BARS:
        bars = [b for b in bars if all((b[0], w, b[1]) in median for w in (way, base))]
        if bars:
            head(short(base), short(way), "ratio")
        for case, metric, direction, bar in bars:
            good &= line(f"{case} {metric}", number(median[case, base, metric]),
                         number(median[case, way, metric]),
                         ratio(values, case, way, base, metric), direction, bar)
    return good


def cold(median):
    good = True
    for way, bar in (("tunnel-nft", COLD_BAR), ("tunnel", None)):
        first, pooled = (median.get(("cold", f"{way}-{w}", "agent_cpu_us"))
                         for w in ("cold", "pooled"))
        if first:
            head("pooled", "first use", "more")
            good &= line(f"cold {way} agent_cpu_us", number(pooled), number(first),
                         first - pooled, "<=", bar)
    return good


def policies(values, median):
    good = True
    for many, none, bar in POLICY_BARS:
        if ("policies", many, "rate") in median:
            head("none", many.rsplit("-", 1)[1], "ratio")
            good &= line(f"policies {none[:-2]} crr16 rate",
                         number(median["policies", none, "rate"]),
                         number(median["policies", many, "rate"]),
                         ratio(values, "policies", many, none, "rate"), ">=", bar)
    return good


def cuts(values):
    """From the write on as well, without a bar: the agent waits for a directory to be quiet."""
    good = True
    ways = [w for c, w, m in values if c == "cut" and m == "ms"]
    if ways:
        head("from write", "median", "worst")
    for way in ways:
        of, written = values["cut", way, "ms"], values["cut", way, "ms_from_write"]
        good &= line(f"cut: live, denied, {way}, ms", number(max(written)),
                     number(statistics.median(of)), max(of), "<=", CUT_BAR)
    return good


def restarts(values):
    """The quiet time after each restart is its base: gaps of what else the machine does."""
    good = True
    if ("restart", "quiet", "worst_ms") in values:
        head("quiet", "restarted", "more")
        for metric, title, bar in (("median_ms", "median stream", None),
                                   ("worst_ms", "worst stream", RESTART_BAR)):
            quiet, after = (values["restart", w, metric] for w in ("quiet", "restarted"))
            more = statistics.median(b - a for a, b in zip(quiet, after))
            good &= line(f"restart: gap, {title}, ms", number(statistics.median(quiet)),
                         number(statistics.median(after)), more, "<=", bar)
    return good


def xds(values, median):
    good = True
    empty, full = (median.get(("xds", w, "ready_ms")) for w in ("empty", "full"))
    if full:
        head("empty", "10 000", "more")
        good &= line("xds ready_ms", number(empty), number(full), full - empty, "<=",
                     XDS_READY_BAR)
    if ("xds", "churn", "p50_us") in median:
        head("quiet", "1 000/s", "ratio")
        for metric, bar in XDS_CHURN_BARS:
            good &= line(f"xds rr64x1awake {metric}", number(median["xds", "quiet", metric]),
                         number(median["xds", "churn", metric]),
                         ratio(values, "xds", "churn", "quiet", metric), "<=", bar)
    return good


def absolutes(median):
    good = True
    rows = [r for r in ABSOLUTE_BARS if (r[0], r[2], r[3]) in median]
    if rows:
        print()
    for case, title, way, metric, unit, bar in rows:
        good &= line(f"{case}: {title}", "", unit, median[case, way, metric], "<=", bar)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("rows")
    p.add_argument("out")
    p.add_argument("--rounds", type=int, default=0)
    p.add_argument("--repeated", type=int, default=0)
    p.add_argument("--kept", type=int, default=0)
    p.add_argument("--seconds", type=int, default=0)
    p.add_argument("--left-out", action="append", default=[], metavar="WAY-AND-WHY")
    p.add_argument("--shown", action="store_true", help="bars that do not hold are no failure")
    args = p.parse_args()
    values = defaultdict(list)
    with open(args.rows, encoding="utf-8") as f:
        for text in f:
            r = json.loads(text)
            values[r["case"], r["way"], r["metric"]].append(r["value"])
    median = {k: statistics.median(v) for k, v in values.items()}
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump([{"case": c, "way": w, "metric": m, "value": v}
                   for (c, w, m), v in median.items()], f, indent=1)
        f.write("\n")

    figures(median)
    good = ratios(values, median)
    good &= cold(median)
    good &= policies(values, median)
    good &= cuts(values)
    good &= restarts(values)
    good &= xds(values, median)
    good &= absolutes(median)
    if args.left_out:
        print("\nNot as asked for:", *args.left_out, sep="\n  ")
    kept = f", {args.kept} kept as they were" if args.kept else ""
    print(f"\n{args.rounds} rounds, medians; {args.repeated} disturbed measurements"
          f" repeated{kept}; {args.seconds // 60} min {args.seconds % 60} s."
          f" Written to {args.out}.")
    if not good:
        print("Some bars do not hold.")
    sys.exit(0 if good or args.shown else 1)


if __name__ == "__main__":
    main()
