// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory orders of the protocols under the C11 memory model, as far as loom knows it: every labelled edge of
//! docs/protocols.md, as small as it can be, with each of its halves weakened in turn (an acquire or release made relaxed, a
//! fence left out). The whole must hold in all executions; each weakened one must fail in some.
//!
//!     tarn-loom                 all of it, as a table
//!     tarn-loom MODEL           one model, as it is
//!     tarn-loom MODEL HALF      with that half left out: says what goes wrong
//!
//! Payloads are plain memory (loom's UnsafeCell): an access that nothing orders with another is found as a data race, be the
//! value right or not. models/README.md says what loom does not know.

mod edges;
mod machine;
mod patterns;

use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use machine::{Broken, Model};

fn models() -> impl Iterator<Item = &'static Model> {
    edges::MODELS.iter().chain(patterns::MODELS)
}

/// Prints how many executions there were; ends in a panic if one of them is wrong.
fn check(model: &Model, broken: Broken) {
    static EXECUTIONS: AtomicUsize = AtomicUsize::new(0);
    let run = model.run;
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = model.preemptions;
    builder.max_branches = 10_000;
    builder.check(move || {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        run(broken)
    });
    println!("{}", EXECUTIONS.load(Ordering::Relaxed));
}

/// In a process of its own, as a failed model leaves loom unusable.
fn check_in_child(model: &str, half: &str) -> Output {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command.arg(model).env("RUST_BACKTRACE", "0");
    if !half.is_empty() {
        command.arg(half);
    }
    command.output().expect("a process of this program")
}

/// What loom or the model said that is wrong; None where the process failed for another reason.
fn complaint(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text
        .lines()
        .find(|line| line.starts_with("VIOLATED") || line.starts_with("Causality violation"))?;
    Some(
        line.trim_start_matches("VIOLATED: ")
            .trim_end_matches(" to `UnsafeCell`.")
            .trim_end_matches('.')
            .to_string(),
    )
}

fn halves_of(model: &'static Model) -> impl Iterator<Item = &'static str> {
    model.halves.iter().chain(model.spare).copied()
}

/// One line of the table, and whether it is as it should be.
fn row(model: &Model, half: &str) -> (String, bool) {
    let start = Instant::now();
    let output = check_in_child(model.name, half);
    let executions = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let holds = half.is_empty() || model.spare.contains(&half);
    let (result, right) = match (output.status.success(), complaint(&output), holds) {
        (true, _, true) if !half.is_empty() => (
            format!("not needed: holds in all of {executions} executions"),
            true,
        ),
        (true, _, true) => (format!("holds in all of {executions} executions"), true),
        (true, _, false) => (format!("NOT CAUGHT in {executions} executions"), false),
        (false, Some(what), true) => (format!("WRONG: {what}"), false),
        (false, Some(what), false) => (format!("caught: {what}"), true),
        (false, None, _) => (
            format!("FAILED: {}", String::from_utf8_lossy(&output.stderr)),
            false,
        ),
    };
    let name = if half.is_empty() { model.of } else { half };
    let seconds = start.elapsed().as_secs_f32();
    (
        format!(
            "{:<12} {:<30} {:>5.1} s  {}",
            model.name, name, seconds, result
        ),
        right,
    )
}

fn table() -> ExitCode {
    let jobs: Vec<(&'static Model, &str)> = models()
        .flat_map(|model| {
            std::iter::once("")
                .chain(halves_of(model))
                .map(move |half| (model, half))
        })
        .collect();
    let rows = Mutex::new(vec![(String::new(), true); jobs.len()]);
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| loop {
                let job = next.fetch_add(1, Ordering::Relaxed);
                let Some((model, half)) = jobs.get(job) else {
                    return;
                };
                let made = row(model, half);
                rows.lock().expect("rows")[job] = made;
            });
        }
    });
    let rows = rows.into_inner().expect("rows");
    for (line, _) in &rows {
        println!("{line}");
    }
    let wrong = rows.iter().filter(|(_, right)| !right).count();
    let halves = jobs.iter().filter(|(_, half)| !half.is_empty()).count();
    println!(
        "{} models, {halves} halves left out in turn, {wrong} rows not as expected",
        models().count()
    );
    ExitCode::from(u8::from(wrong > 0))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first() else {
        return table();
    };
    let Some(model) = models().find(|model| model.name == name) else {
        eprintln!("there is no model {name}");
        return ExitCode::from(2);
    };
    let half = match arguments.get(1) {
        None => "",
        Some(wanted) => match halves_of(model).find(|half| half == wanted) {
            Some(half) => half,
            None => {
                eprintln!(
                    "{name} has: {}",
                    halves_of(model).collect::<Vec<_>>().join(", ")
                );
                return ExitCode::from(2);
            }
        },
    };
    check(model, Broken(half));
    ExitCode::SUCCESS
}
