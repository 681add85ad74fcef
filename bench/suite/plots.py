# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The plots, as SVG. Without matplotlib there are none, and the suite says so."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "tarn"  # the same input makes the same file
matplotlib.rcParams["svg.fonttype"] = "none"
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from plan import size_text  # noqa: E402
from table import bytes_text, rate_text, time_text  # noqa: E402

COLOURS = pyplot.get_cmap("tab20").colors


def style_of(peer, peers):
    others = [name for name in peers if name not in ("tarn", "bare")]
    if peer == "tarn":
        return {"color": "#c8102e", "linewidth": 2.6, "marker": "o", "zorder": 10}
    if peer == "bare":
        return {"color": "black", "linewidth": 1.2, "linestyle": "--", "marker": ".", "zorder": 9}
    return {"color": COLOURS[others.index(peer) % len(COLOURS)], "linewidth": 1.2, "marker": "."}


def lines(table, titles, steps, name, x_of, x_label, y_label, x_text, y_text, path, title):
    """A line per peer over the steps. False if there is nothing to draw."""
    figure, axes = pyplot.subplots(figsize=(9, 5.4))
    for peer, peer_title in titles.items():
        points = [(x_of(s), table[s][peer][name]) for s in steps if table[s].get(peer, {}).get(name, 0) > 0]
        if points:
            axes.plot(*zip(*points), label=peer_title, **style_of(peer, list(titles)))
    if not axes.lines:
        pyplot.close(figure)
        return False
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({x_of(step) for step in steps}))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: x_text(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: y_text(y)))
    finish(figure, axes, x_label, y_label, path, title)
    return True


def finish(figure, axes, x_label, y_label, path, title):
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def distribution(table, titles, step, path):
    """How much of the messages is slower than what: the usual plot of nines."""
    figure, axes = pyplot.subplots(figsize=(9, 5.4))
    for peer, peer_title in titles.items():
        quantiles = table.get(step, {}).get(peer, {}).get("quantiles_ns")
        if quantiles:
            points = [(1 / (1 - float(q)), ns) for q, ns in quantiles.items() if float(q) < 1]
            axes.plot(*zip(*points), label=peer_title, **style_of(peer, list(titles)))
    if not axes.lines:
        pyplot.close(figure)
        return False
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([2, 10, 100, 1000, 10000])
    axes.set_xticklabels(["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: time_text(y)))
    finish(figure, axes, "of the messages took at most", "one way", path,
           f"Distribution, {size_text(step.bytes)}, spinning")
    return True


def whole(x):
    return f"{x:.0f}"


def draw(table, titles, base):
    """All plots that the steps allow: [(title, file)]. base: path without ending."""
    made = []

    def steps_of(scenario, touch="full", sleep=False, by="bytes"):
        found = [s for s in table if s.scenario == scenario and s.touch == touch and s.sleep == sleep]
        return sorted(found, key=lambda step: getattr(step, by))

    def add(name, title, drawn):
        if drawn:
            made.append((title, f"{base}-{name}.svg"))

    sizes = (lambda s: s.bytes, "bytes per message")
    for name, touch, title in (("latency", "full", "One way by size, everything written and read, spinning"),
                               ("latency-line", "line", "One way by size, first line only, spinning")):
        add(name, title, lines(table, titles, steps_of("latency", touch), "one_way_p50_ns", *sizes, "one way, p50",
                               size_text_of, time_text, f"{base}-{name}.svg", title))
    small = next(iter(steps_of("latency")), None)
    add("distribution", "Distribution of one-way times", small and distribution(table, titles, small,
                                                                                f"{base}-distribution.svg"))
    title = "Stream, nothing lost, everything written and read"
    add("stream", title, lines(table, titles, steps_of("stream"), "per_second", *sizes, "messages per second",
                               size_text_of, rate_text, f"{base}-stream.svg", title))
    counts = (lambda s: s.handles, "receivers")
    title = "Cost of sending 64 B to many receivers, none asleep"
    add("fanout", title, lines(table, titles, steps_of("fanout", by="handles"), "send_p50_ns", *counts, "send, p50",
                               whole, time_text, f"{base}-fanout.svg", title))
    title = "Physical memory, idle"
    add("memory", title, lines(table, titles, steps_of("memory", by="handles"), "idle_bytes", *counts, "more than before",
                               whole, bytes_text, f"{base}-memory.svg", title))
    return made


def size_text_of(x):
    return size_text(int(x))
