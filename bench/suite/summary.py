# SPDX-License-Identifier: Apache-2.0 OR MIT
"""From runs to one figure per step and peer: medians of the runs that were made in the same state of the machine."""

import math
import statistics

STATE_WIDTH = 1.35  # walking floors within that factor are one state


def figures(result):
    """The figures of one run, by name."""
    found = {}
    for part in ("one_way", "round_trip", "send", "last_arrival", "wakeup", "futex", "both", "join", "both-threads", "join-threads"):
        for name, least in (("p50_ns", 0), ("p99_ns", 1000), ("p99_9_ns", 10000), ("max_ns", 0)):
            # too few samples tell nothing about a tail
            if name in result.get(part, {}) and result[part].get("count", least) >= least:
                found[f"{part}_{name}"] = result[part][name]
    for name in ("per_second", "open_ns", "idle_bytes", "per_message", "read_ns", "check_ns", "write_ns", "read_busy_ns",
                 "read_busy_mean_ns", "write_busy_ns"):
        if name in result:
            found[name] = result[name]
    if "futex" in result and result["futex"]["count"] > 0:
        found["to_futex"] = result["wakeup"]["p50_ns"] / result["futex"]["p50_ns"]
    return found


def walking_ns(result):
    return (result["before"]["walking_ns"] + result["after"]["walking_ns"]) / 2


def standing_ns(result):
    return (result["before"]["standing_ns"] + result["after"]["standing_ns"]) / 2


def state_of(result):
    return round(math.log(walking_ns(result)) / math.log(STATE_WIDTH)) if "before" in result else 0


def best_state(runs):
    """The state in which most peers were measured, and in it most runs. runs: [(peer, result)]"""
    states = {}
    for peer, result in runs:
        states.setdefault(state_of(result), []).append(peer)
    return max(states, key=lambda state: (len(set(states[state])), len(states[state])))


def summarise(results):
    """{step: {peer: row}}; a row has medians, spread, floors, and whether it is of another state than the others."""
    by_step = {}
    for step, peer, result in results:
        by_step.setdefault(step, []).append((peer, result))
    table = {}
    for step, runs in by_step.items():
        state = best_state(runs)
        table[step] = {}
        for peer in dict.fromkeys(peer for peer, _ in runs):
            own = [result for other, result in runs if other == peer]
            same = [result for result in own if state_of(result) == state]
            table[step][peer] = row_of(same or own, other_state=not same)
    return table


def row_of(runs, other_state):
    names = [name for name in figures(runs[0]) if all(name in figures(run) for run in runs)]
    row = {"runs": len(runs), "other_state": other_state}
    for name in names:
        values = [figures(run)[name] for run in runs]
        row[name] = statistics.median(values)
        row[name + "_least"], row[name + "_most"] = min(values), max(values)
    if "before" in runs[0]:
        row["standing_ns"] = statistics.median(standing_ns(run) for run in runs)
        row["walking_ns"] = statistics.median(walking_ns(run) for run in runs)
        row["speed_per_ns"] = statistics.median(run["after"]["speed_per_ns"] for run in runs)
        if "one_way_p50_ns" in names:
            row["to_standing"] = statistics.median(run["one_way"]["p50_ns"] / standing_ns(run) for run in runs)
            row["to_walking"] = statistics.median(run["one_way"]["p50_ns"] / walking_ns(run) for run in runs)
    for run in runs:
        if "quantiles_ns" in run.get("one_way", {}):
            row["quantiles_ns"] = run["one_way"]["quantiles_ns"]
    return row
