// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The models of messages, sleeping and the roster. Each has two or three threads, and says of each access whose label it is.

use loom::sync::atomic::{fence, AtomicI64, AtomicU64, Ordering::*};
use loom::sync::Arc;
use loom::thread;

use crate::machine::{number, violated, Broken, Membarrier, Model, Payload};

pub const MODELS: &[Model] = &[
    Model {
        name: "commit",
        of: "log.h L1",
        run: commit,
        preemptions: None,
        halves: &["L1 release", "L1 acquire"],
        spare: &[],
    },
    Model {
        name: "table",
        of: "extents.c L2",
        run: table,
        preemptions: None,
        halves: &["L2 release", "L2 acquire"],
        spare: &[],
    },
    Model {
        name: "holds",
        of: "holds.c H1, R4",
        run: holds,
        preemptions: None,
        halves: &[
            "H1 fence of the reader",
            "H1 fence of the publisher",
            "R4 release",
            "R4 acquire",
        ],
        spare: &[],
    },
    Model {
        name: "change-over",
        of: "hold_move() H1, R4",
        run: change_over,
        preemptions: None,
        halves: &[
            "H1 fence of the reader",
            "H1 fence of the publisher",
            "R4 release",
            "R4 acquire",
        ],
        spare: &[],
    },
    Model {
        name: "words",
        of: "reader.c R2",
        run: words,
        preemptions: None,
        halves: &["R2 release", "R2 acquire", "R2 lowered in time"],
        spare: &[],
    },
    Model {
        name: "counted",
        of: "holds.h refs",
        run: counted,
        preemptions: None,
        halves: &["refs release", "refs acquire on leaving"],
        spare: &[],
    },
    Model {
        name: "returned",
        of: "holds.h T1, T2",
        run: returned,
        preemptions: Some(3),
        halves: &[
            "T1 membarrier",
            "T1 second look",
            "T2 release",
            "T2 acquire",
        ],
        spare: &[],
    },
    Model {
        name: "cursor",
        of: "reader.h R3",
        run: cursor,
        preemptions: None,
        halves: &["R3 release", "R3 acquire"],
        spare: &[],
    },
    Model {
        name: "join",
        of: "topic.c R1, extents.c H2",
        run: join,
        preemptions: None,
        halves: &[
            "R1 release",
            "R1 acquire",
            "R1 fence of the joiner",
            "H2 fence of the publisher",
        ],
        spare: &[],
    },
    Model {
        name: "bell",
        of: "bell.h B1, registered",
        run: bell,
        preemptions: None,
        halves: &["B1 membarrier", "B1 look after it"],
        spare: &[],
    },
    Model {
        name: "bell-fence",
        of: "bell.h B1, not registered",
        run: bell_with_fence,
        preemptions: None,
        halves: &["B1 fence of the publisher", "B1 fence of the sleeper"],
        spare: &[],
    },
    Model {
        name: "interrupt",
        of: "subscriber.c I1",
        run: interrupt,
        preemptions: None,
        halves: &["I1 fence of the sleeper", "I1 fence of who interrupts"],
        spare: &[],
    },
    Model {
        name: "space",
        of: "space.h S1, registered",
        run: space,
        preemptions: None,
        halves: &["S1 membarrier", "S1 wanted before it"],
        spare: &["S1 release of wanted", "S1 acquire of wanted"],
    },
    Model {
        name: "space-fence",
        of: "space.h S1, not registered",
        run: space_with_fence,
        preemptions: None,
        halves: &["S1 fence of the reader", "S1 fence of the publisher"],
        spare: &[],
    },
    Model {
        name: "reference",
        of: "extents.c write_reference()",
        run: reference,
        preemptions: None,
        halves: &["backend release", "backend acquire"],
        spare: &[],
    },
    Model {
        name: "blocks",
        of: "roster.c blocks",
        run: blocks,
        preemptions: Some(3),
        halves: &[
            "link release",
            "link acquire",
            "give back release",
            "owner acquire",
        ],
        spare: &[],
    },
];

// ---- the log ----------------------------------------------------------------------------------------------------

const GARBAGE: u64 = 99; // what an extent that is used again is full of

/// Two messages, each committed by its word, behind which the next word is 0.
fn commit(broken: Broken) {
    struct Log {
        words: [AtomicU64; 3],
        payloads: [Payload; 2],
    }
    let log = Arc::new(Log {
        words: [number(0), number(GARBAGE), number(GARBAGE)],
        payloads: [Payload::new(GARBAGE), Payload::new(GARBAGE)],
    });
    let writer = Arc::clone(&log);
    let publisher = thread::spawn(move || {
        for i in 0..2 {
            writer.words[i + 1].store(0, Relaxed);
            writer.payloads[i].write(i as u64);
            writer.words[i].store(1, broken.release("L1 release"));
        }
    });
    for i in 0..2 {
        match log.words[i].load(broken.acquire("L1 acquire")) {
            0 => break,
            1 => log.payloads[i].check(i as u64),
            _ => violated("a word was not cleared"),
        }
    }
    publisher.join().unwrap();
}

/// An extent that is found by its generation in the table, by who joins or was overrun: its first word is 0, its first
/// sequence is the new one. (extents_reenter() is the same, with "none" as first sequence.)
fn table(broken: Broken) {
    struct Extent {
        word: AtomicU64,
        first_sequence: AtomicU64,
        generation: AtomicU64,
    }
    let extent = Arc::new(Extent {
        word: number(GARBAGE),
        first_sequence: number(GARBAGE),
        generation: number(0),
    });
    let readied = Arc::clone(&extent);
    let publisher = thread::spawn(move || {
        readied.word.store(0, Relaxed);
        readied.first_sequence.store(7, Relaxed);
        readied.generation.store(2, broken.release("L2 release"));
    });
    if extent.generation.load(broken.acquire("L2 acquire")) == 2 {
        if extent.first_sequence.load(Relaxed) != 7 {
            violated("entered with the first sequence of an earlier generation");
        }
        if extent.word.load(Acquire) != 0 {
            violated("entered before the first word was cleared");
        }
    }
    publisher.join().unwrap();
}

// ---- holds ------------------------------------------------------------------------------------------------------

struct Extent {
    generation: AtomicU64,
    payload: Payload,
}

impl Extent {
    fn new() -> Self {
        Extent {
            generation: number(1),
            payload: Payload::new(1),
        }
    }

    /// Freed: written again.
    fn reuse(&self) {
        self.payload.write(2);
        self.generation.store(2, Release);
    }
}

/// A reader names an extent in its cell; a publisher retires it, and looks at the cell twice.
fn holds(broken: Broken) {
    let shared = Arc::new((Extent::new(), number(0)));
    let retired = Arc::clone(&shared);
    let publisher = thread::spawn(move || {
        let (extent, cell) = &*retired;
        extent.generation.store(0, Release);
        broken.fence("H1 fence of the publisher");
        for _ in 0..2 {
            if cell.load(broken.acquire("R4 acquire")) == 0 {
                extent.reuse();
                break;
            }
        }
    });
    let (extent, cell) = &*shared;
    cell.store(1, Release);
    broken.fence("H1 fence of the reader");
    if extent.generation.load(Acquire) == 1 {
        extent.payload.check(1);
    }
    cell.store(0, broken.release("R4 release"));
    publisher.join().unwrap();
}

/// The cell names extent 1, which was read, and comes to name 2 instead. Both are retired meanwhile.
fn change_over(broken: Broken) {
    let shared = Arc::new(([Extent::new(), Extent::new()], number(1)));
    let retired = Arc::clone(&shared);
    let publisher = thread::spawn(move || {
        let (extents, cell) = &*retired;
        for extent in extents {
            extent.generation.store(0, Release);
        }
        broken.fence("H1 fence of the publisher");
        let named = cell.load(broken.acquire("R4 acquire"));
        for (index, extent) in extents.iter().enumerate() {
            if named != index as u64 + 1 {
                extent.reuse();
            }
        }
    });
    let (extents, cell) = &*shared;
    extents[0].payload.check(1);
    cell.store(2, broken.release("R4 release"));
    broken.fence("H1 fence of the reader");
    if extents[1].generation.load(Acquire) == 1 {
        extents[1].payload.check(1);
    }
    cell.store(0, Release);
    publisher.join().unwrap();
}

/// The publisher looks at the cell only where the reader's word does not say that it may not be there.
fn words(broken: Broken) {
    const GONE: u64 = u64::MAX;
    let shared = Arc::new((Extent::new(), number(0), number(GONE)));
    let retired = Arc::clone(&shared);
    let publisher = thread::spawn(move || {
        let (extent, cell, word) = &*retired;
        extent.generation.store(0, Release);
        fence(SeqCst);
        if word.load(broken.acquire("R2 acquire")) > 1 || cell.load(Acquire) == 0 {
            extent.reuse();
        }
    });
    let (extent, cell, word) = &*shared;
    if !broken.is("R2 lowered in time") {
        word.store(1, Release);
    }
    cell.store(1, Release);
    fence(SeqCst);
    if extent.generation.load(Acquire) == 1 {
        if broken.is("R2 lowered in time") {
            word.store(1, Release);
        }
        extent.payload.check(1);
    }
    cell.store(0, Release);
    word.store(GONE, broken.release("R2 release"));
    publisher.join().unwrap();
}

/// A message is read and released by another thread; whoever brings the count to 0 clears the cell.
fn counted(broken: Broken) {
    const BIAS: i64 = 100;
    let shared = Arc::new((Extent::new(), number(1), AtomicI64::new(BIAS)));
    shared.0.generation.store(0, Relaxed); // retired long ago
    let (released, freed) = (Arc::clone(&shared), Arc::clone(&shared));
    let user = thread::spawn(move || {
        let (extent, cell, refs) = &*released;
        extent.payload.check(1);
        if refs.fetch_sub(1, broken.releasing("refs release")) == 1 {
            cell.store(0, Release);
        }
    });
    let publisher = thread::spawn(move || {
        let (extent, cell, _) = &*freed;
        if cell.load(Acquire) == 0 {
            extent.reuse();
        }
    });
    let (_, cell, refs) = &*shared;
    let change = 1 - BIAS; // taken: 1
    if refs.load(broken.acquire("refs acquire on leaving")) + change == 0
        || refs.fetch_add(change, AcqRel) + change == 0
    {
        cell.store(0, Release);
    }
    user.join().unwrap();
    publisher.join().unwrap();
}

/// A thread counts what it releases without a locked instruction, while the subscriber leaves the extent in another thread.
fn returned(broken: Broken) {
    const BIAS: i64 = 100;
    struct Hold {
        extent: Extent,
        cell: AtomicU64,
        may: AtomicU64,      // that thread may count
        returned: AtomicU64, // twice the count, odd while it is being raised
        refs: AtomicI64,
        barrier: Membarrier,
    }
    let hold = Arc::new(Hold {
        extent: Extent::new(),
        cell: number(1),
        may: number(1),
        returned: number(0),
        refs: AtomicI64::new(BIAS),
        barrier: Membarrier::new(),
    });
    hold.extent.generation.store(0, Relaxed); // retired long ago
    let (released, freed) = (Arc::clone(&hold), Arc::clone(&hold));
    let user = thread::spawn(move || {
        released.extent.payload.check(1);
        let mut may = released.may.load(Relaxed) == 1;
        if may {
            released.barrier.may_interrupt();
            released.returned.store(1, Relaxed);
            released.barrier.may_interrupt();
            may = broken.is("T1 second look") || released.may.load(Relaxed) == 1;
            let count = if may { 2 } else { 0 };
            released.returned.store(count, broken.release("T2 release"));
        }
        if !may && released.refs.fetch_sub(1, AcqRel) == 1 {
            released.cell.store(0, Release);
        }
        released.barrier.ends();
    });
    let publisher = thread::spawn(move || {
        if freed.cell.load(Acquire) == 0 {
            freed.extent.reuse();
        }
    });
    let mut returned = hold.returned.load(broken.acquire("T2 acquire"));
    if 1 - returned as i64 / 2 + hold.refs.load(Acquire) - BIAS != 0 {
        hold.may.store(0, Relaxed);
        if !broken.is("T1 membarrier") {
            hold.barrier.call();
        }
        returned = hold.returned.load(broken.acquire("T2 acquire"));
        while returned % 2 == 1 {
            thread::yield_now();
            returned = hold.returned.load(broken.acquire("T2 acquire"));
        }
        let change = 1 - returned as i64 / 2 - BIAS;
        if hold.refs.fetch_add(change, AcqRel) + change == 0 {
            hold.cell.store(0, Release);
        }
    } else {
        hold.cell.store(0, Release);
    }
    user.join().unwrap();
    publisher.join().unwrap();
    if hold.cell.load(Acquire) != 0 {
        violated("a hold is never let go");
    }
}

/// Who sees the cursor sees what the reader did with the message: what a flush promises. (Memory that is used again does not
/// depend on it: holds protect that.)
fn cursor(broken: Broken) {
    let shared = Arc::new((Payload::new(0), number(1)));
    let taken = Arc::clone(&shared);
    let reader = thread::spawn(move || {
        let (done, cursor) = &*taken;
        done.write(1);
        cursor.store(2, broken.release("R3 release"));
    });
    let (done, cursor) = &*shared;
    if cursor.load(broken.acquire("R3 acquire")) == 2 {
        done.check(1);
    }
    reader.join().unwrap();
}

/// A reliable subscriber joins while the publisher jumps on and retires what it need not keep.
fn join(broken: Broken) {
    const JOINING: u64 = 4;
    struct Topic {
        jumps: [AtomicU64; 2], // out of extents 0 and 1
        generations: [AtomicU64; 3],
        newest: AtomicU64,
        changes: AtomicU64,
        state: AtomicU64,
    }
    let topic = Arc::new(Topic {
        jumps: [number(0), number(0)],
        generations: [number(1), number(1), number(1)],
        newest: number(0),
        changes: number(0),
        state: number(0),
    });
    let sending = Arc::clone(&topic);
    let publisher = thread::spawn(move || {
        let (mut known, mut waits) = (0, false);
        for extent in 0..2 {
            sending.jumps[extent].store(1, Release);
            sending.newest.store(extent as u64 + 1, Release);
            broken.fence("H2 fence of the publisher");
            let changes = sending.changes.load(broken.acquire("R1 acquire"));
            if changes != known {
                known = changes;
                waits = sending.state.load(Acquire) == JOINING; // it has no cursor yet
            }
            if !waits {
                sending.generations[extent].store(0, Release);
            }
        }
    });
    topic.state.store(JOINING, Release);
    topic.changes.fetch_add(1, broken.releasing("R1 release"));
    broken.fence("R1 fence of the joiner");
    let mut at = topic.newest.load(Acquire) as usize;
    while at < 2 && topic.jumps[at].load(Acquire) == 1 {
        at += 1;
    }
    publisher.join().unwrap();
    if topic.generations[at].load(Acquire) == 0 {
        violated("what a reliable subscriber has still to read was retired");
    }
}

// ---- sleeping and waking ------------------------------------------------------------------------------------------

/// futex_wait: sleeps if the word is still that. The kernel compares, so it is not told anything old.
pub fn sleeps(word: &AtomicU64, value: u64) -> bool {
    word.fetch_add(0, AcqRel) == value
}

/// What the bell's other side does once the order is made: returns whether it has woken who sleeps.
pub fn win(word: &AtomicU64, seen: u64, step: u64) {
    let mut value = seen;
    while value & 1 == 1 {
        match word.compare_exchange(value, value + step, AcqRel, Acquire) {
            Ok(_) => break,
            Err(now) => value = now,
        }
    }
}

pub fn check_awake(slept: bool, word: &AtomicU64, value: u64) {
    if slept && word.load(Acquire) == value {
        violated("it sleeps, though there is something");
    }
}

struct Bell {
    message: AtomicU64,
    bell: AtomicU64,
    barrier: Membarrier,
}

fn new_bell() -> Arc<Bell> {
    Arc::new(Bell {
        message: number(0),
        bell: number(0),
        barrier: Membarrier::new(),
    })
}

fn bell(broken: Broken) {
    let topic = new_bell();
    let sending = Arc::clone(&topic);
    let publisher = thread::spawn(move || {
        sending.barrier.may_interrupt();
        sending.message.store(1, Release);
        sending.barrier.may_interrupt();
        let seen = sending.bell.load(Relaxed);
        sending.barrier.may_interrupt();
        win(&sending.bell, seen, 1);
        sending.barrier.ends();
    });
    let value = topic.bell.fetch_or(1, AcqRel) | 1;
    let look = || topic.message.load(Acquire);
    let early = if broken.is("B1 look after it") {
        Some(look())
    } else {
        None
    };
    if !broken.is("B1 membarrier") {
        topic.barrier.call();
    }
    let slept = early.unwrap_or_else(look) == 0 && sleeps(&topic.bell, value);
    publisher.join().unwrap();
    check_awake(slept, &topic.bell, value);
}

fn bell_with_fence(broken: Broken) {
    let topic = new_bell();
    let sending = Arc::clone(&topic);
    let publisher = thread::spawn(move || {
        sending.message.store(1, Release);
        broken.fence("B1 fence of the publisher");
        let seen = sending.bell.load(Relaxed);
        win(&sending.bell, seen, 1);
    });
    let value = topic.bell.fetch_or(1, AcqRel) | 1;
    broken.fence("B1 fence of the sleeper");
    let slept = topic.message.load(Acquire) == 0 && sleeps(&topic.bell, value);
    publisher.join().unwrap();
    check_awake(slept, &topic.bell, value);
}

fn interrupt(broken: Broken) {
    let topic = new_bell(); // the message stands for the flag
    let interrupting = Arc::clone(&topic);
    let other = thread::spawn(move || {
        interrupting.message.store(1, Release);
        broken.fence("I1 fence of who interrupts");
        let seen = interrupting.bell.load(Relaxed);
        win(&interrupting.bell, seen, 2);
    });
    let value = topic.bell.fetch_or(1, AcqRel) | 1;
    broken.fence("I1 fence of the sleeper");
    let slept = topic.message.load(Acquire) == 0 && sleeps(&topic.bell, value);
    other.join().unwrap();
    check_awake(slept, &topic.bell, value);
}

const WANTED: u64 = 2;

struct Space {
    cursor: AtomicU64,
    wanted: AtomicU64,
    space: AtomicU64,
    barrier: Membarrier,
}

fn new_space() -> Arc<Space> {
    // it waited for more before
    Arc::new(Space {
        cursor: number(1),
        wanted: number(9),
        space: number(0),
        barrier: Membarrier::new(),
    })
}

/// A reliable reader that has taken the message that is waited for.
fn ring_at(space: &Space, broken: Broken) {
    let seen = space.space.load(broken.acquire("S1 acquire of wanted"));
    space.barrier.may_interrupt();
    if seen & 1 == 1 && WANTED >= space.wanted.load(Relaxed) {
        win(&space.space, seen, 1);
    }
}

fn space(broken: Broken) {
    let shared = new_space();
    let reading = Arc::clone(&shared);
    let reader = thread::spawn(move || {
        reading.barrier.may_interrupt();
        reading.cursor.store(WANTED, Release);
        reading.barrier.may_interrupt();
        ring_at(&reading, broken);
        reading.barrier.ends();
    });
    if !broken.is("S1 wanted before it") {
        shared.wanted.store(WANTED, Relaxed);
    }
    let value = shared
        .space
        .fetch_or(1, broken.releasing("S1 release of wanted"))
        | 1;
    if !broken.is("S1 membarrier") {
        shared.barrier.call();
    }
    if broken.is("S1 wanted before it") {
        shared.wanted.store(WANTED, Relaxed);
    }
    let slept = shared.cursor.load(Acquire) < WANTED && sleeps(&shared.space, value);
    reader.join().unwrap();
    check_awake(slept, &shared.space, value);
}

fn space_with_fence(broken: Broken) {
    let shared = new_space();
    let reading = Arc::clone(&shared);
    let reader = thread::spawn(move || {
        reading.cursor.store(WANTED, Release);
        broken.fence("S1 fence of the reader");
        ring_at(&reading, broken);
    });
    shared.wanted.store(WANTED, Relaxed);
    let value = shared.space.fetch_or(1, AcqRel) | 1;
    broken.fence("S1 fence of the publisher");
    let slept = shared.cursor.load(Acquire) < WANTED && sleeps(&shared.space, value);
    reader.join().unwrap();
    check_awake(slept, &shared.space, value);
}

// ---- the roster -------------------------------------------------------------------------------------------------

/// Who sees a backend sees the rest of the reference.
fn reference(broken: Broken) {
    let shared = Arc::new((number(0), number(0)));
    let written = Arc::clone(&shared);
    let publisher = thread::spawn(move || {
        let (id, backend) = &*written;
        id.store(5, Relaxed);
        backend.store(1, broken.release("backend release"));
    });
    let (id, backend) = &*shared;
    if backend.load(broken.acquire("backend acquire")) == 1 && id.load(Relaxed) != 5 {
        violated("a segment's reference without its id");
    }
    publisher.join().unwrap();
}

struct Roster {
    owners: [AtomicU64; 2],
    blocks: [Payload; 2],
    links: [AtomicU64; 2], // 0, or a block's number and 1
}

impl Roster {
    fn take(&self, broken: Broken) -> usize {
        for (block, owner) in self.owners.iter().enumerate() {
            if owner.load(broken.acquire("owner acquire")) != 0 {
                continue;
            }
            let order = broken.acquiring("owner acquire");
            if owner.compare_exchange(0, 1, order, Relaxed).is_ok() {
                self.blocks[block].write(0);
                return block;
            }
        }
        usize::MAX // both are taken
    }

    fn link(&self, link: &AtomicU64, broken: Broken) {
        let acquire = broken.acquire("link acquire");
        let mut linked = link.load(acquire);
        let block = if linked == 0 {
            self.take(broken)
        } else {
            usize::MAX
        };
        if block != usize::MAX {
            let order = if broken.is("link acquire") {
                Release
            } else {
                broken.releasing("link release")
            };
            match link.compare_exchange(0, block as u64 + 1, order, acquire) {
                Ok(_) => linked = block as u64 + 1,
                Err(other) => {
                    self.owners[block].store(0, broken.release("give back release"));
                    linked = other;
                }
            }
        }
        if linked != 0 {
            self.blocks[linked as usize - 1].check(0);
        }
    }
}

/// Two processes link a block at the same place, one gives it back, and a third may take that for another place.
fn blocks(broken: Broken) {
    let roster = Arc::new(Roster {
        owners: [number(0), number(0)],
        blocks: [Payload::new(GARBAGE), Payload::new(GARBAGE)],
        links: [number(0), number(0)],
    });
    let others: Vec<_> = (0..2)
        .map(|place| {
            let roster = Arc::clone(&roster);
            thread::spawn(move || roster.link(&roster.links[place], broken))
        })
        .collect();
    roster.link(&roster.links[0], broken);
    for other in others {
        other.join().unwrap();
    }
}
