// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The models of the other patterns: requests, events, blackboards, work queues. As edges.rs.

use loom::sync::atomic::{fence, AtomicU64, Ordering::*};
use loom::sync::Arc;
use loom::thread;

use crate::edges::{check_awake, sleeps, win};
use crate::machine::{number, violated, Broken, Model, Payload};

pub const MODELS: &[Model] = &[
    Model {
        name: "address",
        of: "service.h A1, addressee",
        run: address,
        preemptions: None,
        halves: &[
            "A1 release of the addressee",
            "A1 acquire of the addressee",
            "A1 second look",
        ],
        spare: &[],
    },
    Model {
        name: "speaker",
        of: "service.h A1, speaker",
        run: speaker,
        preemptions: None,
        halves: &[
            "A1 release of the speaker",
            "A1 acquire of the speaker",
            "A1 second look",
        ],
        spare: &[],
    },
    Model {
        name: "attached",
        of: "note_speaker() A1",
        run: attached,
        preemptions: None,
        halves: &[
            "A1 addressee once more",
            "backend release",
            "backend acquire",
        ],
        spare: &[],
    },
    Model {
        name: "over",
        of: "service.c A2",
        run: over,
        preemptions: None,
        halves: &[
            "A2 release of the state",
            "A2 acquire of the state",
            "A2 acquire of the incarnation",
        ],
        spare: &["A2 release of the incarnation"],
    },
    Model {
        name: "event",
        of: "counters.h E1",
        run: event,
        preemptions: None,
        halves: &["E1 release", "E1 acquire"],
        spare: &[],
    },
    Model {
        name: "event-bell",
        of: "counters.h E1, bell.h B1",
        run: event_bell,
        preemptions: None,
        halves: &[
            "B1 fence of the notifier",
            "B1 fence of the listener",
            "E1 ids before the bell",
        ],
        spare: &[],
    },
    Model {
        name: "deaths",
        of: "counters.h E2",
        run: deaths,
        preemptions: None,
        halves: &[
            "E2 release of who is killed",
            "E2 acquire of who replaces it",
            "E2 release of who replaces it",
            "E2 acquire of who comes again",
        ],
        spare: &[],
    },
    Model {
        name: "value",
        of: "board.h K2, the same holder",
        run: value,
        preemptions: None,
        halves: &["K2 release of the place", "K2 acquire of the place"],
        spare: &[],
    },
    Model {
        name: "hands",
        of: "board.h K1, K2, K3",
        run: hands,
        preemptions: Some(3),
        halves: &[
            "K1 release",
            "K1 acquire",
            "K1 second look",
            "K2 release of the owner",
            "K2 acquire of the owner",
            "K2 release of the place",
            "K2 acquire of the place",
            "K3 release",
            "K3 acquire",
        ],
        spare: &["K1 acquire of the second look"],
    },
    Model {
        name: "again",
        of: "view_easily() K1, K2",
        run: again,
        preemptions: None,
        halves: &[
            "K1 second look",
            "K2 release of the place",
            "K2 acquire of the place",
        ],
        spare: &[],
    },
    Model {
        name: "place",
        of: "arena.h P1, a board's place",
        run: place,
        preemptions: None,
        halves: &["P1 fence of the reader", "P1 fence of the writer"],
        spare: &[],
    },
    Model {
        name: "taken-over",
        of: "arena.h P1, another's word",
        run: taken_over,
        preemptions: None,
        halves: &["P1 fence of the reader", "P1 fence of the writer"],
        spare: &["K1 acquire of the writer"],
    },
    Model {
        name: "put",
        of: "queue.h Q1",
        run: put,
        preemptions: None,
        halves: &["Q1 release", "Q1 acquire"],
        spare: &["Q1 acquire of the swap"],
    },
    Model {
        name: "follower",
        of: "worker.c Q1, cells used again",
        run: follower,
        preemptions: None,
        halves: &["Q1 release", "Q1 acquire of the swap", "Q1 look behind it"],
        spare: &[],
    },
    Model {
        name: "requeue",
        of: "queue.h Q2",
        run: requeue,
        preemptions: None,
        halves: &["Q2 release", "Q2 acquire"],
        spare: &[],
    },
    Model {
        name: "claim",
        of: "queue.h Q3, arena.h P1",
        run: claim,
        preemptions: None,
        halves: &["P1 hold before the claim", "Q3 release", "Q3 acquire"],
        spare: &["P1 fence of the worker", "P1 fence of the producer"],
    },
];

// ---- requests ---------------------------------------------------------------------------------------------------

const ME: u64 = 1;
const ANOTHER: u64 = 2;
const FIRST: u64 = 1; // the incarnation of the slot's first publisher, and its speaker
const SECOND: u64 = 3;

struct Address {
    incarnation: AtomicU64,
    addressee: AtomicU64,
    speaker: AtomicU64,
}

/// A publisher's slot is used again while an inbox looks at it. Returns as whose words the inbox takes the first one's log, 0:
/// nobody's.
fn listen(addressee: u64, broken: Broken) -> u64 {
    let slot = Arc::new(Address {
        incarnation: number(FIRST),
        addressee: number(addressee),
        speaker: number(FIRST),
    });
    let claimed = Arc::clone(&slot);
    let successor = thread::spawn(move || {
        claimed.incarnation.store(SECOND, Release);
        let order = broken.release("A1 release of the addressee");
        claimed.addressee.store(ME, order);
        let order = broken.release("A1 release of the speaker");
        claimed.speaker.store(SECOND, order);
    });
    let mut heard = 0;
    let order = broken.acquire("A1 acquire of the addressee");
    if slot.incarnation.load(Acquire) == FIRST && slot.addressee.load(order) == ME {
        let order = broken.acquire("A1 acquire of the speaker");
        let speaker = slot.speaker.load(order);
        if broken.is("A1 second look") || slot.incarnation.load(Acquire) == FIRST {
            heard = speaker;
        }
    }
    successor.join().unwrap();
    heard
}

/// The first one spoke to somebody else.
fn address(broken: Broken) {
    if listen(ANOTHER, broken) != 0 {
        violated("what was said to another is heard");
    }
}

/// Both speak to us.
fn speaker(broken: Broken) {
    if listen(ME, broken) == SECOND {
        violated("one speaker is taken for another");
    }
}

/// An inbox reads the second publisher's incarnation, and the first one's addressee, and attaches what the second says to
/// somebody else.
fn attached(broken: Broken) {
    let shared = Arc::new((
        Address {
            incarnation: number(FIRST),
            addressee: number(ME),
            speaker: number(FIRST),
        },
        number(0), // the reference to its memory
    ));
    let claimed = Arc::clone(&shared);
    let successor = thread::spawn(move || {
        let (slot, backend) = &*claimed;
        slot.incarnation.store(SECOND, Release);
        slot.addressee.store(ANOTHER, Release);
        slot.speaker.store(SECOND, Release);
        backend.store(1, broken.release("backend release"));
    });
    let (slot, backend) = &*shared;
    let is_ours = || slot.addressee.load(Acquire) == ME;
    if slot.incarnation.load(Acquire) == SECOND
        && is_ours()
        && backend.load(broken.acquire("backend acquire")) == 1
    {
        let speaker = slot.speaker.load(Relaxed);
        if (broken.is("A1 addressee once more") || is_ours()) && speaker != 0 {
            violated("what is said to another is heard");
        }
    }
    successor.join().unwrap();
}

/// A server leaves, or somebody repairs it, and has seen all that it committed: its client fails no request that was answered.
fn over(broken: Broken) {
    const LEAVING: u64 = 9;
    struct Server {
        word: AtomicU64, // of its log
        state: AtomicU64,
        incarnation: AtomicU64,
    }
    let server = Arc::new(Server {
        word: number(0),
        state: number(0),
        incarnation: number(1),
    });
    let leaving = Arc::clone(&server);
    let leaver = thread::spawn(move || {
        leaving.word.store(1, Release);
        let order = broken.release("A2 release of the state");
        leaving.state.store(LEAVING, order);
        fence(SeqCst); // topic_ring()
        let order = broken.release("A2 release of the incarnation");
        leaving.incarnation.store(2, order);
    });
    let state = broken.acquire("A2 acquire of the state");
    let incarnation = broken.acquire("A2 acquire of the incarnation");
    let gone = server.state.load(state) == LEAVING || server.incarnation.load(incarnation) != 1;
    if gone && server.word.load(Acquire) == 0 {
        violated("a request fails that was answered");
    }
    leaver.join().unwrap();
}

// ---- events -----------------------------------------------------------------------------------------------------

/// Who sees the count sees what the notifier did before.
fn event(broken: Broken) {
    let shared = Arc::new((Payload::new(0), number(0)));
    let raised = Arc::clone(&shared);
    let notifier = thread::spawn(move || {
        let (done, counter) = &*raised;
        done.write(1);
        counter.fetch_add(1, broken.releasing("E1 release"));
    });
    let (done, counter) = &*shared;
    if counter.load(broken.acquire("E1 acquire")) == 1 {
        done.check(1);
    }
    notifier.join().unwrap();
}

/// An event that nobody has raised before, and a listener that is about to sleep.
fn event_bell(broken: Broken) {
    struct Topic {
        ids: AtomicU64,
        raised: AtomicU64,
        bell: AtomicU64,
    }
    let topic = Arc::new(Topic {
        ids: number(0),
        raised: number(0),
        bell: number(0),
    });
    let raising = Arc::clone(&topic);
    let notifier = thread::spawn(move || {
        let tell = || raising.ids.compare_exchange(0, 1, AcqRel, Acquire).is_ok();
        let told = !broken.is("E1 ids before the bell") && tell();
        raising.raised.fetch_add(1, AcqRel);
        broken.fence("B1 fence of the notifier");
        let seen = raising.bell.load(Relaxed);
        win(&raising.bell, seen, 1);
        if !told {
            tell();
        }
    });
    let value = topic.bell.fetch_or(1, AcqRel) | 1;
    broken.fence("B1 fence of the listener");
    let found = topic.ids.load(Acquire) == 1 && topic.raised.load(Acquire) == 1;
    let slept = !found && sleeps(&topic.bell, value);
    let woken = !slept && !found && topic.ids.load(Acquire) == 0;
    notifier.join().unwrap();
    check_awake(slept, &topic.bell, value);
    if woken {
        violated("it is woken, and does not look far enough");
    }
}

struct Deaths {
    word: AtomicU64, // the count, and whose was the last: slot + 1, always in its incarnation 1
    marks: [AtomicU64; 2],
    incarnations: [AtomicU64; 2],
    turns: AtomicU64, // see take_turns()
}

impl Deaths {
    /// Orders nothing. But loom tries other turns where accesses collide, and of two loads of a word it remembers the last
    /// only: so it would not let one who loads and then swaps go before one who just loads.
    fn take_turns(&self) {
        self.turns.fetch_add(1, Relaxed);
    }

    fn mark(&self, slot: usize) {
        let marked = self.marks[slot].load(Acquire);
        if marked != 1 && self.incarnations[slot].load(Acquire) == 1 {
            let _ = self.marks[slot].compare_exchange(marked, 1, AcqRel, Acquire);
        }
    }

    /// counters_raise_death(), by one who may be killed once it is counted.
    fn raise(&self, slot: usize, is_killed: bool, broken: Broken) {
        let this = slot as u64 + 1;
        let (acquire, release) = match slot {
            0 => (
                "E2 acquire of who comes again",
                "E2 release of who is killed",
            ),
            _ => (
                "E2 acquire of who replaces it",
                "E2 release of who replaces it",
            ),
        };
        loop {
            self.take_turns();
            let word = self.word.load(broken.acquire(acquire));
            self.take_turns();
            let last = word & 15;
            if last == this || self.marks[slot].load(Acquire) == 1 {
                break;
            }
            if last != 0 {
                self.mark(last as usize - 1);
            }
            let next = ((word >> 4) + 1) << 4 | this;
            let order = broken.releasing(release);
            if self
                .word
                .compare_exchange(word, next, order, Acquire)
                .is_ok()
            {
                if is_killed {
                    return;
                }
                break;
            }
        }
        self.mark(slot);
    }
}

/// Two notifiers are dead, and name the same event; who repairs the first is killed, and the next one repeats it. (Locks order
/// the life in a slot and its repairers, so they are one thread.)
fn deaths(broken: Broken) {
    let shared = Arc::new(Deaths {
        word: number(0),
        marks: [number(0), number(0)],
        incarnations: [number(0), number(1)],
        turns: number(0),
    });
    let repaired = Arc::clone(&shared);
    let first = thread::spawn(move || {
        repaired.incarnations[0].store(1, Release);
        repaired.raise(0, true, broken);
        repaired.raise(0, false, broken);
    });
    shared.raise(1, false, broken);
    first.join().unwrap();
    if shared.word.load(Acquire) >> 4 != 2 {
        violated("a death has not raised its event once");
    }
}

// ---- a blackboard -----------------------------------------------------------------------------------------------

/// Its holder sets a value at another place, in the pair that counts.
fn value(broken: Broken) {
    let shared = Arc::new((Payload::new(0), number(0)));
    let set = Arc::clone(&shared);
    let writer = thread::spawn(move || {
        let (value, place) = &*set;
        value.write(1);
        place.store(1, broken.release("K2 release of the place"));
    });
    let (value, place) = &*shared;
    if place.load(broken.acquire("K2 acquire of the place")) == 1 {
        value.check(1);
    }
    writer.join().unwrap();
}

struct Key {
    current: AtomicU64,
    owners: [AtomicU64; 2],
    places: [AtomicU64; 2],
    holder: AtomicU64,
    values: [Payload; 4], // of the writers 1 to 3
}

/// The first writer's value, and the second one has the key.
fn new_key() -> Arc<Key> {
    Arc::new(Key {
        current: number(2),
        owners: [number(1), number(0)],
        places: [number(1), number(0)],
        holder: number(2),
        values: [0, 1, 0, 0].map(Payload::new),
    })
}

impl Key {
    /// board_publish(), for the first time since the key changed hands.
    fn publish(&self, writer: u64, current: u64, broken: Broken) {
        let next = ((current >> 1) + 1) << 1 | (!current & 1);
        let pair = (next & 1) as usize;
        self.values[writer as usize].write(writer);
        self.owners[pair].store(writer, broken.release("K2 release of the owner"));
        self.places[pair].store(writer, broken.release("K2 release of the place"));
        self.current.store(next, broken.release("K1 release"));
    }

    fn give_up(&self, broken: Broken) {
        let order = broken.releasing("K3 release");
        let _ = self.holder.compare_exchange(2, 0, order, Acquire);
    }

    /// Whether the third writer has the key now.
    fn take(&self, broken: Broken) -> bool {
        let order = broken.acquire("K3 acquire");
        let swap = broken.acquiring("K3 acquire");
        self.holder.load(order) == 0 && self.holder.compare_exchange(0, 3, swap, order).is_ok()
    }

    /// The last two writers set their values.
    fn change_hands(key: &Arc<Key>, broken: Broken) -> [thread::JoinHandle<()>; 2] {
        let (setting, taking) = (Arc::clone(key), Arc::clone(key));
        let second = thread::spawn(move || {
            setting.publish(2, 2, broken);
            setting.give_up(broken);
        });
        let third = thread::spawn(move || {
            if taking.take(broken) {
                let current = taking.current.load(Relaxed);
                if current != 5 {
                    violated("a holder does not see what the last one wrote");
                }
                taking.publish(3, current, broken);
            }
        });
        [second, third]
    }
}

/// A reader along the long way, while the key changes hands twice. (Holds are place's and taken-over's.)
fn hands(broken: Broken) {
    let key = new_key();
    let writers = Key::change_hands(&key, broken);
    let current = key.current.load(broken.acquire("K1 acquire"));
    let pair = (current & 1) as usize;
    let owner = key.owners[pair].load(broken.acquire("K2 acquire of the owner"));
    let place = key.places[pair].load(broken.acquire("K2 acquire of the place"));
    let again = broken.acquire("K1 acquire of the second look");
    if broken.is("K1 second look") || key.current.load(again) == current {
        if owner != place || owner != current >> 1 {
            violated("one writer's place is taken for another's");
        }
        key.values[place as usize].check(owner);
    }
    for writer in writers {
        writer.join().unwrap();
    }
}

/// A reader that holds the first writer's extent anyway, whose number is that of the third one's.
fn again(broken: Broken) {
    let key = new_key();
    let changing = Arc::clone(&key);
    let writers = thread::spawn(move || {
        changing.publish(2, 2, broken);
        changing.publish(3, 5, broken);
    });
    const KNOWN: u64 = 2;
    if key.current.load(Acquire) == KNOWN {
        let place = key.places[0].load(broken.acquire("K2 acquire of the place"));
        if broken.is("K1 second look") || key.current.load(Relaxed) == KNOWN {
            key.values[place as usize].check(1);
        }
    }
    writers.join().unwrap();
}

/// A reader names the extent of a place; the writer has made it be over, and looks at the cell.
fn place(broken: Broken) {
    let shared = Arc::new((Payload::new(1), number(1), number(0)));
    let set = Arc::clone(&shared);
    let writer = thread::spawn(move || {
        let (value, place, cell) = &*set;
        place.store(2, Release);
        broken.fence("P1 fence of the writer");
        if cell.load(Acquire) == 0 {
            value.write(3);
        }
    });
    let (value, place, cell) = &*shared;
    cell.store(1, Release);
    broken.fence("P1 fence of the reader");
    if place.load(Acquire) == 1 {
        value.check(1);
    }
    cell.store(0, Release);
    writer.join().unwrap();
}

/// The same where the key has changed hands: the word is another's, and the old writer looks at it.
fn taken_over(broken: Broken) {
    let shared = Arc::new((Payload::new(1), number(2), number(0)));
    let (taking, forgetting) = (Arc::clone(&shared), Arc::clone(&shared));
    let taker = thread::spawn(move || taking.1.store(5, Release));
    let writer = thread::spawn(move || {
        let (value, current, cell) = &*forgetting;
        if current.load(broken.acquire("K1 acquire of the writer")) == 5 {
            broken.fence("P1 fence of the writer");
            if cell.load(Acquire) == 0 {
                value.write(3);
            }
        }
    });
    let (value, current, cell) = &*shared;
    cell.store(1, Release);
    broken.fence("P1 fence of the reader");
    if current.load(Acquire) == 2 {
        value.check(1);
    }
    cell.store(0, Release);
    taker.join().unwrap();
    writer.join().unwrap();
}

// ---- a work queue -----------------------------------------------------------------------------------------------

const FREE: u64 = 1;
const DONE: u64 = 2;
const OWNED: u64 = 3; // and 4: by another

/// A cell is used for the next message, and a worker claims it.
fn put(broken: Broken) {
    struct Cell {
        state: AtomicU64,
        place: AtomicU64,
        message: Payload,
    }
    let cell = Arc::new(Cell {
        state: number(DONE),
        place: number(1),
        message: Payload::new(0),
    });
    let filled = Arc::clone(&cell);
    let producer = thread::spawn(move || {
        filled.message.write(1);
        filled.place.store(2, Relaxed);
        filled.state.store(FREE, broken.release("Q1 release"));
    });
    if cell.state.load(broken.acquire("Q1 acquire")) == FREE {
        let place = cell.place.load(Relaxed);
        let order = broken.acquiring("Q1 acquire of the swap");
        let swapped = cell.state.compare_exchange(FREE, OWNED, order, Acquire);
        if swapped.is_ok() && cell.place.load(Relaxed) != place {
            violated("a message is given back that was in its place");
        }
        if swapped.is_ok() {
            cell.message.check(1);
        }
    }
    producer.join().unwrap();
}

/// A worker that was stopped before its swap meets a message of the producer whose cell this is by now.
fn follower(broken: Broken) {
    let shared = Arc::new((number(1), number(DONE)));
    let used = Arc::clone(&shared);
    let producer = thread::spawn(move || {
        let (incarnation, state) = &*used;
        incarnation.store(2, Release); // of the first one, which the second has seen raised
        state.store(FREE, broken.release("Q1 release"));
    });
    let (incarnation, state) = &*shared;
    let before = incarnation.load(Acquire);
    let order = broken.acquiring("Q1 acquire of the swap");
    if state.compare_exchange(FREE, OWNED, order, Acquire).is_ok() {
        let seen = if broken.is("Q1 look behind it") {
            before
        } else {
            incarnation.load(Acquire)
        };
        if seen == 1 {
            violated("another producer's message is taken for the first one's");
        }
    }
    producer.join().unwrap();
}

/// A message is given back, behind the position of a worker that starts again at the first when the count has moved.
fn requeue(broken: Broken) {
    let shared = Arc::new((number(OWNED), number(0)));
    let given = Arc::clone(&shared);
    let worker = thread::spawn(move || {
        let (state, requeues) = &*given;
        let _ = state.compare_exchange(OWNED, FREE, AcqRel, Acquire);
        requeues.fetch_add(1, broken.releasing("Q2 release"));
    });
    let (state, requeues) = &*shared;
    let count = requeues.load(broken.acquire("Q2 acquire"));
    if state.load(Acquire) != FREE && count == 1 {
        violated("a message that was given back is passed over for good");
    }
    worker.join().unwrap();
}

/// A worker's claim is taken over and acknowledged by another, and the producer takes the memory while the first may read.
fn claim(broken: Broken) {
    struct Queue {
        state: AtomicU64,
        cell: AtomicU64,
        message: Payload,
        result: Payload,
    }
    let queue = Arc::new(Queue {
        state: number(FREE),
        cell: number(0),
        message: Payload::new(1),
        result: Payload::new(0),
    });
    let (working, producing) = (Arc::clone(&queue), Arc::clone(&queue));
    let other = thread::spawn(move || {
        let state = &working.state;
        if state.compare_exchange(OWNED, 4, AcqRel, Acquire).is_ok() {
            working.result.write(1);
            let _ = state.compare_exchange(4, DONE, broken.releasing("Q3 release"), Acquire);
        }
    });
    let producer = thread::spawn(move || {
        if producing.state.load(broken.acquire("Q3 acquire")) == DONE {
            producing.result.check(1);
            broken.fence("P1 fence of the producer");
            if producing.cell.load(Acquire) == 0 {
                producing.message.write(2);
            }
        }
    });
    let hold = || {
        queue.cell.store(1, Release);
        broken.fence("P1 fence of the worker");
    };
    let held = !broken.is("P1 hold before the claim");
    if held {
        hold();
    }
    let swapped = queue.state.compare_exchange(FREE, OWNED, AcqRel, Acquire);
    if !held {
        hold();
    }
    if swapped.is_ok() {
        queue.message.check(1);
    }
    queue.cell.store(0, Release);
    other.join().unwrap();
    producer.join().unwrap();
}
