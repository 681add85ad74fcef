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
     [("one_way_p50_ns", "p50", time_text), ("one_way_p99_9_ns", "p99.9", time_text)], "bytes"),
    ("One way, spinning, first line only", "latency", "line", False,
     [("one_way_p50_ns", "p50", time_text), ("one_way_p99_9_ns", "p99.9", time_text)], "bytes"),
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
    ("Request and response, spinning, everything written and read", "call", "full", False,
     [("round_trip_p50_ns", "p50", time_text), ("round_trip_p99_ns", "p99", time_text)], "bytes"),
    ("Request and response, sleeping, everything written and read", "call", "full", True,
     [("round_trip_p50_ns", "p50", time_text), ("round_trip_p99_ns", "p99", time_text)], "bytes"),
    ("An event, one way, spinning", "notify", "full", False,
     [("one_way_p50_ns", "p50", time_text), ("one_way_p99_ns", "p99", time_text)], "bytes"),
    ("An event to a sleeping listener", "notify", "full", True,
     [("wakeup_p50_ns", "p50", time_text), ("to_futex", "p50 / that of a bare futex beside it", "{:.2f}".format)], "bytes"),
    ("The latest value", "value", "full", False,
     [("read_ns", "read", time_text), ("check_ns", "of which comparing the bytes", time_text),
      ("read_busy_mean_ns", "read while it is always written, mean", time_text), ("write_ns", "write", time_text),
      ("write_busy_ns", "write while it is always read", time_text)], "bytes"),
    ("Through a queue, each message acknowledged, per second: bytes and workers", "queue", "full", False,
     [("per_second", None, rate_text)], "bytes and handles"),
    ("Instructions per message, both sides", "instructions", None, False,
     [("per_message", None, lambda count: f"{count:.0f}")], "bytes"),
]


def section(entry, table, titles):
    title, scenario, touch, sleep, shown, across = entry
    steps = [s for s in table if s.scenario == scenario and touch in (None, s.touch) and s.sleep == sleep]
    if not steps:
        return ""
    steps.sort(key=lambda step: (step.handles, step.bytes) if across == "handles" else (step.bytes, step.handles))
    heads = [head(step, across) for step in steps]
    lines = [f"\n### {title}\n", "| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(steps)]
    for peer, peer_title in titles.items():
        for name, label, text in shown:
            cells = [cell(table[step].get(peer), name, text) for step in steps]
            if any(cells):
                lines.append(f"| {peer_title}{', ' + label if label else ''} | " + " | ".join(cells) + " |")
    lines += floors(table, steps) if scenario == "latency" and not sleep else []
    return "\n".join(lines) + "\n"


def head(step, across):
    size = size_text(step.bytes)
    return {"bytes": size, "handles": str(step.handles)}.get(across, f"{size}, {step.handles}")


def marks(table):
    """What was promised of the patterns beside messages, and what was measured."""
    lines = []

    def mark(text, value, limit, at_most):
        kept = "kept" if (value <= limit if at_most else value >= limit) else "MISSED"
        lines.append(f"| {text} | {value:.3g} | {'at most' if at_most else 'at least'} {limit:g} | {kept} |")

    for step, rows in table.items():
        if "tarn" not in rows:
            continue
        row, messages = rows["tarn"], rows.get("tarn:messages", {})
        if step.scenario == "call" and "round_trip_p50_ns" in messages:
            mark(f"{step}: to two one-way messages", row["round_trip_p50_ns"] / messages["round_trip_p50_ns"], 1.2, True)
        if step.scenario == "notify" and "to_futex" in row and "to_futex" in messages:
            mark(f"{step}: wake-up to a bare futex (limit: 1.05 x that of messages)", row["to_futex"],
                 1.05 * messages["to_futex"], True)
        if step.scenario == "value" and step.bytes == 64:
            mark(f"{step}: read, less comparing, ns", row["read_ns"] - row["check_ns"], 30, True)
        if step.scenario == "queue" and "rabbitmq" in rows:
            mark(f"{step}: to RabbitMQ", row["per_second"] / rows["rabbitmq"]["per_second"], 10, False)
    return "\n".join(["\n### Marks\n", "| | measured | mark | |", "|---|---:|---:|---|"] + lines) + "\n" if lines else ""


def how_text(how):
    """One text, or one for each pattern that the peer has."""
    if isinstance(how, str):
        return how
    return how["messages"] if list(how) == ["messages"] else " ".join(f"*{pattern}*: {text}" for pattern, text in how.items())


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
    body = "".join(section(entry, table, titles) for entry in SECTIONS) + marks(table)
    versions = "\n".join(f"- {about['title']} {about['version']}: {how_text(about['how'])}" for about in facts["peers"])
    return "\n".join(lines) + "\n" + body + "\n### Versions and how each was used\n\n" + versions + "\n"
