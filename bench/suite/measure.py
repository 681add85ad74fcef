# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs steps: peers in turns (A B A B), floors around each run, again where the floors differ."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

from plan import VARIANTS, WITH_SERVER

TOLERANCE = 0.2  # by how much the walking floors before and after a run may differ
TRIES = 3  # of one run whose floors differ
TIMEOUT_S = 120
INSTRUCTION_COUNTS = (1000, 5000)
GROWTH_RUNS = 30
AERON = "bench/peers/aeron"


class Runner:
    def __init__(self, programs, cpus, say):
        self.compare = os.path.join(programs, "bench_compare")
        self.jar = os.path.join(programs, "aeron", "aeron-peer.jar")
        self.programs, self.cpus, self.say = programs, cpus, say
        self.failed = {}  # peer: what it said last

    def describe(self, peer):
        """{"title", "version", "how", ...}, or None if the peer is not built."""
        if peer == "aeron":
            return json.load(open(f"{AERON}/describe.json")) if os.path.exists(self.jar) else None
        name, _, variant = peer.partition(":")
        done = subprocess.run([self.compare, "--peer", name, "--describe"], capture_output=True, text=True)
        if done.returncode != 0:
            return None
        described = json.loads(done.stdout)
        if variant:
            described.update(title=f"{described['title']}, {VARIANTS[variant]}", how="As for messages.")
        return described

    def command(self, step, peer):
        name, _, variant = peer.partition(":")
        command = [self.compare, "--scenario", step.scenario, "--peer", name, "--bytes", str(step.bytes)]
        command += [f"--{variant}"] if variant else []
        command += ["--touch", step.touch, "--handles", str(step.handles), "--seconds", str(step.seconds)]
        command += ["--sleep"] if step.sleep or peer in WITH_SERVER else []
        return command + (["--cpus", self.cpus] if self.cpus else [])

    def run(self, command, environment=None):
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
        return json.loads(done.stdout)

    def once(self, step, peer):
        if step.scenario == "instructions":
            return self.count_instructions(step, peer)
        if step.scenario == "growth":
            return self.run_growth(step)
        if peer == "aeron":
            return self.run_aeron(step)
        return self.run(self.command(step, peer))

    def run_aeron(self, step):
        """A program of its own: the floors are taken around it."""
        floor = [self.compare, "--scenario", "floor"] + (["--cpus", self.cpus] if self.cpus else [])
        before = self.run(floor)["after"]
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            command = [f"{AERON}/run", step.scenario, "--bytes", str(step.bytes), "--seconds"]
            command += [str(max(step.seconds, 0.5)), "--cpus", self.cpus or "0,1", "--folder", folder]
            command += ["--touch", step.touch] if step.scenario == "latency" else []
            result = self.run(command, {**os.environ, "AERON_JAR": self.jar})
        after = self.run(floor)["after"]
        if step.scenario == "latency":
            result = {"one_way": result}
        return {**result, "before": before, "after": after}

    def run_growth(self, step):
        """tarn among so many other topics, and subscribers in its own: fresh processes with one thread, and with four."""
        with tempfile.NamedTemporaryFile() as out:
            command = [os.path.join(self.programs, "bench_open"), "--runs", str(GROWTH_RUNS), "--json", out.name]
            command += ["--topics", str(step.handles), "--subscribers", str(step.handles)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
            if done.returncode != 0:
                raise RuntimeError((done.stderr.strip() or "bench_open failed").splitlines()[-1])
            return {row["name"]: {"p50_ns": row["p50_ns"], "p99_ns": row["p99_ns"]} for row in json.load(out)["rows"]}

    def count_instructions(self, step, peer):
        """Of one process that sends and takes, by callgrind, as the difference of two counts of messages."""
        totals = []
        for count in INSTRUCTION_COUNTS:
            with tempfile.NamedTemporaryFile() as out:
                command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
                command += self.command(step, peer) + ["--count", str(count)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
                found = re.findall(r"Collected : (\d+)", done.stderr)  # one for each process; most by far: the one that sends
                if done.returncode != 0 or not found:
                    raise RuntimeError((done.stderr.strip() or "valgrind failed").splitlines()[-1])
                totals.append(max(map(int, found)))
        per_message = (totals[1] - totals[0]) / (INSTRUCTION_COUNTS[1] - INSTRUCTION_COUNTS[0])
        return {"per_message": per_message}

    def steady(self, step, peer):
        """A run whose floors agree; None if there is none, or the peer does not do that. Servers take seconds to start, and
        what a message costs through one does not hang on a cache line's way: there every run of a queue counts."""
        any_floors = step.scenario == "queue" and peer in WITH_SERVER
        for number in range(TRIES):
            try:
                result = self.once(step, peer)
            except (RuntimeError, OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
                if peer in WITH_SERVER and number == 0:  # one in a dozen of NATS' workers never gets its subscription
                    print(f"\n{peer}: {step}: {error}: once more", file=sys.stderr)
                    continue
                self.failed[peer] = f"{step}: {error}"
                return None
            if "skipped" in result:
                return None
            if "before" not in result or any_floors or self.agree(result):
                return result
        return None

    @staticmethod
    def agree(result):
        low, high = sorted((result["before"]["walking_ns"], result["after"]["walking_ns"]))
        return low > 0 and high / low - 1 <= TOLERANCE

    def measure(self, steps, peers, takes_part):
        """[(step, peer, result)], with progress."""
        results, start = [], time.monotonic()
        for number, step in enumerate(steps, 1):
            mine = [peer for peer in peers if takes_part(peer, step)]
            for turn in range(step.rounds):
                for peer in mine:
                    seconds = time.monotonic() - start
                    self.say(f"[{number}/{len(steps)}] {step}, round {turn + 1} of {step.rounds}: {peer} ({seconds:.0f} s)")
                    result = self.steady(step, peer)
                    if result:
                        results.append((step, peer, result))
                    elif turn == 0 and peer in self.failed and self.failed[peer].startswith(str(step)):
                        print(f"\n{peer}: {self.failed[peer]}", file=sys.stderr)
        return results
