#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians of the bench's rows: bench.json, and the table with the project's bars."""

import argparse
import json
import statistics
import sys
from collections import defaultdict

# case, what, metric, better direction, bar on tunnel/plain
RATIO_BARS = [
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
# case, title, way, metric, unit, bar (at most)
ABSOLUTE_BARS = [
    ("idle", "agent at rest, node a", "agent-a", "rss_kb", "KB", 8192),
    ("idle", "agent at rest, node b", "agent-b", "rss_kb", "KB", 8192),
    ("idle", "an idle connection, node a", "agent-a", "bytes_per_conn", "B", 614),
    ("idle", "an idle connection, node b", "agent-b", "bytes_per_conn", "B", 614),
    ("idle", "left after they close, node a", "agent-a", "rss_kb_over_idle_after", "KB", 2048),
    ("idle", "left after they close, node b", "agent-b", "rss_kb_over_idle_after", "KB", 2048),
    ("pods", "an enrolled pod", "tunnel", "bytes_per_pod", "B", 20480),
    ("scale", "ready, small mesh", "small", "ready_ms", "ms", 200),
    ("scale", "ready, 10 000 workloads", "10000", "ready_ms", "ms", 200),
    ("scale", "memory of 10 000 workloads", "10000", "rss_kb_more", "KB", 10240),
]
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


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("rows")
    p.add_argument("out")
    p.add_argument("--rounds", type=int, default=0)
    p.add_argument("--repeated", type=int, default=0)
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

    good = True
    print(f"{'case, metric':<36}{'plain':>11}{'tunnel':>11}{'ratio':>10}")
    for case, metric, direction, bar in RATIO_BARS:
        plain, tunnel = (median.get((case, w, metric)) for w in ("plain", "tunnel"))
        if plain and tunnel:
            good &= line(f"{case} {metric}", number(plain), number(tunnel), tunnel / plain,
                         direction, bar)
        elif plain:
            print(f"{case + ' ' + metric:<36}{number(plain):>11}")
    cold, pooled = (median.get(("cold", w, "agent_cpu_us")) for w in ("cold", "pooled"))
    if cold:
        print(f"\n{'':<36}{'pooled':>11}{'cold':>11}{'more':>10}")
        good &= line("cold agent_cpu_us", number(pooled), number(cold), cold - pooled, "<=", 1100)
    none, many = (median.get(("policies", w, "rate")) for w in ("none", "10000"))
    if none:
        print(f"\n{'':<36}{'none':>11}{'10 000':>11}{'ratio':>10}")
        good &= line("policies crr16 rate", number(none), number(many), many / none, ">=", 0.97)
    rows = [(t, c, w, m, u, b) for c, t, w, m, u, b in ABSOLUTE_BARS if (c, w, m) in median]
    if rows:
        print()
    for title, case, way, metric, unit, bar in rows:
        good &= line(f"{case}: {title}", "", unit, median[case, way, metric], "<=", bar)
    print(f"\n{args.rounds} rounds, medians; {args.repeated} disturbed measurements repeated."
          f" Written to {args.out}.")
    if not good:
        print("Some bars do not hold.")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
