# SPDX-License-Identifier: Apache-2.0 OR MIT
"""script/bench, after all is installed and built: measures, then writes JSON, a page and plots."""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict

import plan
from measure import Runner
from summary import summarise
from table import SECTIONS, marks, page, section

SCENARIOS = ["latency", "stream", "fanout", "fanin", "wakeup", "open", "growth", "memory", *plan.PATTERNS, "instructions"]


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="script/bench", description="Measures tarn, what people use instead, and the hardware's floors, in one run.",
        epilog="examples: script/bench --quick; script/bench latency --peers pipe,iceoryx2; script/bench call queue; "
        "script/bench --all")
    parser.add_argument("scenario", nargs="*", help=", ".join(SCENARIOS) + " (all)")
    parser.add_argument("--peers", help="comma-separated; tarn is always there")
    parser.add_argument("--quick", action="store_true", help="few sizes and peers, once each: under 3 minutes")
    parser.add_argument("--all", action="store_true", help="DDS, Aeron, and brokers in all scenarios, too")
    parser.add_argument("--cpus", help="A,B: the two CPUs to run on")
    parser.add_argument("--out", default="bench/results", help="folder of the results (bench/results)")
    parser.add_argument("--programs", default="build", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    for name in chosen.scenario:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario \"{name}\": {', '.join(SCENARIOS)}")
    return chosen


def say(text):
    end, start = ("", "\r\033[K") if sys.stderr.isatty() else ("\n", "")
    print(start + text, end=end, file=sys.stderr, flush=True)


def short_name(cpu):
    """For file names: "intel-xeon" of "Intel(R) Xeon(R) Processor"."""
    return re.sub("[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|processor|\bcpu\b", " ", cpu.lower())).strip("-")


def cpu_model():
    found = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    return found.group(1).strip() if found else platform.machine()


def facts_of(mode, about):
    version = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_model(),
        "kernel": platform.release().split("-")[0],
        "cpus": os.cpu_count(),
        "virtual": "hypervisor" in open("/proc/cpuinfo").read(),
        "load": os.getloadavg()[0],
        "mode": mode,
        "tarn": version,
        "peers": about,
    }


def choose_peers(chosen, mode, runner):
    """{name: what it is}, and the names of those that are measured in all scenarios, not only in patterns."""
    messages = plan.QUICK if chosen.quick else plan.USUAL + (plan.SLOW if chosen.all else [])
    names = messages + plan.pattern_peers(mode, chosen.scenario)
    if chosen.scenario and all(scenario in plan.PATTERNS for scenario in chosen.scenario):
        names = plan.pattern_peers(mode, chosen.scenario)
    if chosen.peers:
        messages = names = ["tarn", "tarn:messages"] + [name for name in chosen.peers.split(",") if name != "tarn"]
    about = {}
    for name in dict.fromkeys(names):
        described = runner.describe(name)
        if described:
            about[name] = described
        else:
            print(f"bench: {name} is not there (not installed, or not built); left out", file=sys.stderr)
            if chosen.peers:
                sys.exit(1)
    return about, messages


def write(chosen, facts, results, table, titles):
    os.makedirs(chosen.out, exist_ok=True)
    base = f"{chosen.out}/{facts['date']}-{short_name(facts['cpu'])}"
    try:
        from plots import draw
        plots = [(title, os.path.basename(file)) for title, file in draw(table, titles, base)]
    except ImportError:
        plots = []
        print("bench: no plots, since matplotlib is not installed", file=sys.stderr)
    with open(base + ".md", "w") as file:
        file.write(page(facts, table, titles, plots))
    rows = [{**asdict(step), "peer": peer, **row} for step, by_peer in table.items() for peer, row in by_peer.items()]
    with open(base + ".json", "w") as file:
        file.write(json.dumps({"facts": facts})[:-1] + ', "rows": [\n ')
        file.write(",\n ".join(json.dumps(row) for row in rows) + '\n], "runs": [\n ')
        file.write(",\n ".join(json.dumps(short(step, peer, run)) for step, peer, run in results) + "\n]}\n")
    return [base + ".json", base + ".md"] + [os.path.join(chosen.out, file) for _, file in plots]


def short(step, peer, run):
    """A run as it is kept: its figures and floors; the row of its step says the rest."""
    said = ("step", "peer", "scenario", "title", "version", "copies", "bytes", "touch", "wait", "handles", "cpus")
    kept = {name: value for name, value in run.items() if name not in said}
    for part in ("one_way", "round_trip", "futex", "send", "last_arrival", "wakeup"):
        if part in kept:
            kept[part] = {name: value for name, value in kept[part].items() if name not in ("quantiles_ns", "mean_ns")}
    return {"step": str(step), "peer": peer, **kept}


def main():
    chosen = parse(sys.argv[1:])
    mode = "quick" if chosen.quick else "all" if chosen.all else "usual"
    runner = Runner(chosen.programs, chosen.cpus, say)
    about, messages = choose_peers(chosen, mode, runner)
    titles = {name: described["title"] for name, described in about.items()}
    steps = plan.steps(mode, chosen.scenario)

    def takes_part(peer, step):
        return (step.scenario in plan.PATTERNS or peer in messages) and plan.takes_part(peer, step, about[peer]["copies"])

    results = runner.measure(steps, list(about), takes_part)
    say("")
    if not results:
        sys.exit("bench: nothing was measured")
    table = summarise(results)
    for entry in SECTIONS:
        print(section(entry, table, titles), end="")
    print(marks(table), end="")
    facts = facts_of(mode, [{"peer": name, **described} for name, described in about.items()])
    print("\nWritten:", *write(chosen, facts, results, table, titles), sep="\n    ")
    if runner.failed:
        print("\nFailed:", *[f"{peer}: {text}" for peer, text in runner.failed.items()], sep="\n    ")
        sys.exit(1)


if __name__ == "__main__":
    main()
