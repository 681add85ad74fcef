# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What is measured: peers, and steps of one scenario with one size each. See docs/benchmarks.md."""

from dataclasses import dataclass

# In the order of tables. Those of SLOW only with --all: their servers, or Java, take their time.
USUAL = ("tarn bare iceoryx2 iceoryx mutex pipe fifo unix seqpacket tcp mq zmq nng").split()
SLOW = ["aeron", "cyclonedds", "nats", "rabbitmq"]
QUICK = ["tarn", "bare", "iceoryx2", "pipe", "unix"]
# A server needs a CPU, and there may be only the two that spinning receivers would take.
WITH_SERVER = ["nats", "rabbitmq"]
# Who has something for the other patterns; a name behind a colon is a peer that is used in another way: see VARIANTS.
PATTERNS = {
    "call": ["tarn", "tarn:messages", "bare", "iceoryx2", "pipe", "unix", "zmq", "nats"],
    "notify": ["tarn", "tarn:messages", "bare", "iceoryx2", "eventfd", "pipe"],
    "value": ["tarn", "seqlock", "iceoryx2"],
    "queue": ["tarn", "zmq", "nats", "rabbitmq"],
}
VARIANTS = {"messages": "by one-way messages"}  # and how they are called

KB, MB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Step:
    scenario: str
    bytes: int = 8
    touch: str = "full"
    sleep: bool = False
    handles: int = 1
    seconds: float = 0.1
    rounds: int = 3

    def __str__(self):
        words = [self.scenario, size_text(self.bytes)]
        if self.touch == "line":
            words.append("first line")
        if self.sleep:
            words.append("sleeping")
        if self.scenario in ("fanin", "fanout", "memory", "growth", "queue"):
            words.append(f"x {self.handles}")
        return " ".join(words)


def size_text(size):
    for unit, name in ((MB, "MB"), (KB, "KB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def steps(mode, scenarios):
    """All steps of the mode ("quick", "usual", "all"), limited to these scenarios if any are named."""
    quick = mode == "quick"
    latencies = [8, 64 * KB, MB] if quick else [8, 64, KB, 16 * KB, 64 * KB, MB, 16 * MB]
    lines = [8, 64 * KB] if quick else [8, 64, KB, 16 * KB, 64 * KB, MB, 16 * MB, 64 * MB]
    sleeping = [8] if quick else [8, 64 * KB]
    streams = [8, 64 * KB] if quick else [8, 64, KB, 16 * KB, 64 * KB, MB, 16 * MB]
    many = [1, 16] if quick else [1, 4, 16, 64, 256, 1000]
    rounds = 1 if quick else 3
    made = []
    for size in latencies:
        made.append(Step("latency", size, rounds=rounds))
    for size in lines:
        made.append(Step("latency", size, "line", rounds=rounds))
    for size in sleeping:
        made.append(Step("latency", size, sleep=True, rounds=rounds))
    for size in streams:
        made.append(Step("stream", size, seconds=0.2, rounds=rounds))
    for handles in many:
        made.append(Step("fanout", 64, handles=handles, rounds=min(rounds, 2)))
    for handles in [h for h in many if h <= 256]:
        made.append(Step("fanin", 64, handles=handles, rounds=min(rounds, 2)))
    made.append(Step("wakeup", 8, sleep=True, seconds=0.3, rounds=rounds))
    made.append(Step("open", 8, rounds=3 if quick else 5))
    for handles in [1, 16] if quick else [1, 16, 64]:
        made.append(Step("memory", 64, handles=handles, rounds=1))
    for handles in [0, 100] if quick else [0, 10, 100, 1000]:
        made.append(Step("growth", 8, handles=handles, rounds=1))
    made += pattern_steps(quick, rounds)
    if not quick:
        made.append(Step("instructions", 8, rounds=1))
        made.append(Step("instructions", 64 * KB, "line", rounds=1))
    return [step for step in made if not scenarios or step.scenario in scenarios]


def pattern_steps(quick, rounds):
    made = []
    for size in [8] if quick else [8, 64 * KB]:
        made += [Step("call", size, rounds=rounds), Step("call", size, sleep=True, rounds=rounds)]
    made.append(Step("notify", 8, rounds=rounds))
    made.append(Step("notify", 8, sleep=True, seconds=0.3, rounds=rounds))
    for size in [64] if quick else [64, 64 * KB]:
        made.append(Step("value", size, rounds=rounds))
    for size in [64] if quick else [64, KB]:
        for workers in [1] if quick else [1, 2]:
            made.append(Step("queue", size, handles=workers, seconds=0.3, rounds=min(rounds, 2)))
    return made


def pattern_peers(mode, scenarios):
    """Who is measured in patterns, besides those for messages."""
    names = [peer for pattern in PATTERNS if not scenarios or pattern in scenarios for peer in PATTERNS[pattern]]
    return [name for name in dict.fromkeys(names) if mode != "quick" or name != "nats"]


def takes_part(peer, step, copies):
    """Whether a peer is measured in a step; copies: it touches all bytes anyway."""
    if step.scenario in PATTERNS:
        return peer in PATTERNS[step.scenario] and (peer not in WITH_SERVER or step.sleep or step.scenario == "queue")
    if ":" in peer or peer in ("eventfd", "seqlock"):
        return False
    if step.scenario == "latency" and step.touch == "line" and copies:
        return False
    if peer in WITH_SERVER and not step.sleep and step.scenario in ("latency", "fanout"):
        return False
    if peer == "aeron" and (step.scenario not in ("latency", "stream") or step.sleep):
        return False
    if step.scenario == "growth":
        return peer == "tarn"
    if step.scenario == "instructions":
        return peer in ("tarn", "bare", "iceoryx2", "pipe")
    return True
