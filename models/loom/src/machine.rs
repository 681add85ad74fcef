// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the models are made of: orders that can be left out, payloads, and membarrier.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicU64, Ordering};
use loom::thread;

pub struct Model {
    pub name: &'static str,
    pub of: &'static str,
    pub run: fn(Broken),
    pub halves: &'static [&'static str],
    pub spare: &'static [&'static str], // halves that are not needed: it holds without them, too
    pub preemptions: Option<usize>,     // at most so many, where all would take too long
}

/// The half of an edge that is left out; empty: none.
#[derive(Clone, Copy)]
pub struct Broken(pub &'static str);

impl Broken {
    pub fn is(self, half: &str) -> bool {
        self.0 == half
    }

    pub fn acquire(self, half: &str) -> Ordering {
        if self.is(half) {
            Ordering::Relaxed
        } else {
            Ordering::Acquire
        }
    }

    pub fn release(self, half: &str) -> Ordering {
        if self.is(half) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        }
    }

    /// Of a read-modify-write whose release is the half.
    pub fn releasing(self, half: &str) -> Ordering {
        if self.is(half) {
            Ordering::Acquire
        } else {
            Ordering::AcqRel
        }
    }

    /// Of a read-modify-write whose acquire is the half.
    pub fn acquiring(self, half: &str) -> Ordering {
        if self.is(half) {
            Ordering::Release
        } else {
            Ordering::AcqRel
        }
    }

    pub fn fence(self, half: &str) {
        if !self.is(half) {
            fence(Ordering::SeqCst);
        }
    }
}

pub fn violated(what: &str) -> ! {
    // On a line of its own, for main.rs; loom's panic message has it again.
    eprintln!("VIOLATED: {what}");
    panic!("{what}");
}

pub fn number(value: u64) -> AtomicU64 {
    AtomicU64::new(value)
}

/// A payload: plain memory.
pub struct Payload(UnsafeCell<u64>);

// Shared on purpose: that is what is checked.
unsafe impl Sync for Payload {}
unsafe impl Send for Payload {}

impl Payload {
    pub fn new(value: u64) -> Self {
        Payload(UnsafeCell::new(value))
    }

    pub fn write(&self, value: u64) {
        self.0.with_mut(|place| unsafe { *place = value });
    }

    fn read(&self) -> u64 {
        self.0.with(|place| unsafe { *place })
    }

    pub fn check(&self, expected: u64) {
        if self.read() != expected {
            violated("a payload is not what was sent");
        }
    }
}

/// membarrier between one thread that asks for it and one that it interrupts. Linux makes the other processor pass a full
/// fence at some instruction between the call and its return. So wherever it could be interrupted, the other thread looks
/// whether it is, and the caller waits until it was, or has ended. What they tell each other by orders nothing.
pub struct Membarrier {
    asked: AtomicU64,
    served: AtomicU64,
}

impl Membarrier {
    pub fn new() -> Self {
        Membarrier {
            asked: AtomicU64::new(0),
            served: AtomicU64::new(0),
        }
    }

    pub fn call(&self) {
        fence(Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::Relaxed);
        while self.served.fetch_add(0, Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        fence(Ordering::SeqCst);
    }

    /// Between two instructions of the other thread.
    pub fn may_interrupt(&self) {
        if self.asked.fetch_add(0, Ordering::Relaxed) != 0
            && self.served.fetch_add(0, Ordering::Relaxed) == 0
        {
            fence(Ordering::SeqCst);
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The other thread does nothing more: all that it stored is seen by who switches it out.
    pub fn ends(&self) {
        fence(Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}
