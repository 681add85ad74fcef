# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The Markdown page: a table per scenario, peers down, sizes or counts across."""

from plan import size_text


def time_text(ns):
    for limit, unit, name in ((1e3, 1, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms")):
        if ns < limit:
            return f"{ns / unit:.3g} {name}"
    return f"{ns / 1e9:.3g} s"


def rate_text(per_second):
    for limit, unit, name in ((1e3, 1, ""), (1e6, 1e3, " k"), (1e12, 1e6, " M")):
        if per_second < limit:
            return f"{per_second / unit:.3g}{name}"
    return f"{per_second:.3g}"


def bytes_text(count):
    return f"{count / 1024:.0f} KiB" if abs(count) < 10 << 20 else f"{count / (1 << 20):.0f} MiB"


# title, scenario, touch, sleep, figures with their texts, what goes across
SECTIONS = [
    ("One way, spinning, everything written and read", "latency", "full", False,
     [("one_way_p50_ns", "p50", time_text), ("one_way_p999_ns", "p99.9", time_text)], "bytes"),
    ("One way, spinning, first line only", "latency", "line", False,
     [("one_way_p50_ns", "p50", time_text), ("one_way_p999_ns", "p99.9", time_text)], "bytes"),
    ("One way, sleeping, everything written and read", "latency", "full", True,
     [("one_way_p50_ns", "p50", time_text)], "bytes"),
    ("Stream, messages per second, nothing lost", "stream", "full", False, [("per_second", None, rate_text)], "bytes"),
    ("Send of 64 B to many receivers that do not sleep", "fanout", "full", False,
     [("send_p50_ns", "send", time_text), ("last_arrival_p50_ns", "all have it", time_text)], "handles"),
    ("From many senders to one receiver, 64 B, messages per second", "fanin", "full", False,
     [("per_second", None, rate_text)], "handles"),
    ("Waking a sleeping receiver", "wakeup", "full", True,
     [("wakeup_p50_ns", "p50", time_text), ("wakeup_p99_ns", "p99", time_text)], "bytes"),
    ("From nothing to the first message", "open", "full", False, [("open_ns", None, time_text)], "bytes"),
    ("tarn in fresh processes, among so many other topics, and subscribers of the same topic", "growth", "full", False,
     [("both_p50_ns", "publisher and subscriber open, first message", time_text),
      ("join_p50_ns", "subscriber joins, first message", time_text),
      ("both-threads_p50_ns", "the first, in a process with 4 threads", time_text)], "handles"),
    ("Physical memory when idle, 64 B", "memory", "full", False, [("idle_bytes", None, bytes_text)], "handles"),
    ("Instructions per message, both sides", "instructions", None, False,
     [("per_message", None, lambda count: f"{count:.0f}")], "bytes"),
]


def section(entry, table, titles):
    title, scenario, touch, sleep, shown, across = entry
    steps = [s for s in table if s.scenario == scenario and touch in (None, s.touch) and s.sleep == sleep]
    if not steps:
        return ""
    steps.sort(key=lambda step: getattr(step, across))
    heads = [size_text(step.bytes) if across == "bytes" else str(step.handles) for step in steps]
    lines = [f"\n### {title}\n", "| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(steps)]
    for peer, peer_title in titles.items():
        for name, label, text in shown:
            cells = [cell(table[step].get(peer), name, text) for step in steps]
            if any(cells):
                lines.append(f"| {peer_title}{', ' + label if label else ''} | " + " | ".join(cells) + " |")
    lines += floors(table, steps) if scenario == "latency" and not sleep else []
    return "\n".join(lines) + "\n"


def cell(row, name, text):
    if row is None or name not in row:
        return ""
    return text(row[name]) + ("*" if row["other_state"] else "")


def floors(table, steps):
    """The floors of tarn's own runs, and how far from them it is."""
    rows = [table[step].get("tarn") for step in steps]
    lines = []
    for name, label, text in (("standing_ns", "standing floor", time_text), ("walking_ns", "walking floor", time_text),
                              ("to_standing", "tarn / standing", "{:.2f}".format),
                              ("to_walking", "tarn / walking", "{:.2f}".format)):
        lines.append(f"| *{label}* | " + " | ".join(text(row[name]) if row else "" for row in rows) + " |")
    return lines


def page(facts, table, titles, plots):
    floors_seen = [row["walking_ns"] for rows in table.values() for row in rows.values() if "walking_ns" in row]
    lines = [f"# Measured on {facts['date']}: {facts['cpu']}\n", f"Linux {facts['kernel']}, {facts['cpus']} CPUs, "
             f"{'virtual machine' if facts['virtual'] else 'no virtual machine'}, tarn {facts['tarn']}, mode {facts['mode']}."]
    if floors_seen:
        lines.append(f"The walking floor was {time_text(min(floors_seen))} to {time_text(max(floors_seen))} in the runs that "
                     "count. Each table compares runs of one state of the machine; a star marks a peer of which there "
                     "was none in it.")
    for title, file in plots:
        lines.append(f"\n![{title}]({file})")
    body = "".join(section(entry, table, titles) for entry in SECTIONS)
    versions = "\n".join(f"- {about['title']} {about['version']}: {about['how']}" for about in facts["peers"])
    return "\n".join(lines) + "\n" + body + "\n### Versions and how each was used\n\n" + versions + "\n"
