//! Whole cycles in a simulated world: the real `ops` over ports that are values in memory.
//!
//! A world is a number. It decides what the workspace is, who decides over it, what upstreams push,
//! what people do by hand, when the clock jumps, and at which call of which port a process dies or is
//! told that it failed; the journal keeps what was durable, everything else of the process is gone.
//! After every process it is looked at what must hold (see `checks`), and at the end of a world
//! everything must come to rest.
//!
//! ```text
//! cargo test --test simulation                                     some thousand cycles
//! LAMBDA_OS_SIM_CYCLES=100000 cargo test --release --test simulation -- --nocapture
//! LAMBDA_OS_SIM_SEED=17 cargo test --test simulation -- --nocapture     one world, told step by step
//! ```
//!
//! A world that fails is printed with the command that replays it.
#![expect(clippy::disallowed_methods, reason = "the number of cycles comes from the environment")]

mod checks;
mod fault;
mod git;
mod heals;
mod health;
mod journal;
mod machine;
mod people;
mod process;
mod random;
mod upstream;
mod verdicts;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use fault::locked;
use world::World;

/// How many cycles are run when nobody asks for more.
const CYCLES: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    let said = std::env::var(name).ok()?;
    Some(said.parse().unwrap_or_else(|_| panic!("{name} is {said}, which is no number")))
}

#[test]
fn whatever_goes_wrong_in_a_world_what_must_hold_holds() {
    if let Some(seed) = number("LAMBDA_OS_SIM_SEED") {
        return replay(seed);
    }
    let wanted = number("LAMBDA_OS_SIM_CYCLES").unwrap_or(CYCLES);
    let began = Instant::now();
    let (next, cycles, stop) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
    let wrong = Mutex::new(None);
    let faults: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let deeds: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    let live = || {
        while cycles.load(Ordering::Relaxed) < wanted && !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let mut world = World::new(seed);
            let lived = world.live().map_err(|why| (why, std::mem::take(&mut world.story)));
            let all = cycles.fetch_add(world.cycles, Ordering::Relaxed) + world.cycles;
            for (word, count) in world.said() {
                *locked(&deeds).entry(word).or_default() += count;
            }
            for (fault, count) in world.faults {
                *locked(&faults).entry(fault).or_default() += count;
            }
            for (deed, count) in world.deeds {
                *locked(&deeds).entry(deed).or_default() += count;
            }
            if let Err((why, story)) = lived {
                stop.store(true, Ordering::Relaxed);
                locked(&wrong).get_or_insert((seed, all, why, story));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(live))));
    let (all, took) = (cycles.into_inner(), began.elapsed());
    if let Some((seed, after, why, story)) = wrong.into_inner().expect("because no world panics") {
        let from = story.len().saturating_sub(25);
        panic!(
            "found after {after} cycles, in the world {seed}: {why}\n\nwhat happened last:\n  {}\n\nreplay it with: LAMBDA_OS_SIM_SEED={seed} cargo test --test simulation -- --nocapture\n",
            story[from..].join("\n  ")
        );
    }
    let rate = u128::from(all) * 1000 / took.as_millis().max(1);
    println!("{all} cycles in {:.1} s, {rate} a second, {threads} threads", took.as_secs_f64());
    for (deed, count) in locked(&deeds).iter() {
        println!("{count:8} {deed}");
    }
    let faults = locked(&faults);
    println!("{:8} faults, of {} kinds", faults.values().sum::<u64>(), faults.len());
    for (fault, count) in faults.iter() {
        println!("{count:8} {fault}");
    }
}

fn replay(seed: u64) {
    let mut world = World::new(seed);
    let lived = world.live();
    println!("{}", world.story.join("\n"));
    match lived {
        Ok(()) => println!("the world {seed} holds, {} cycles", world.cycles),
        Err(why) => panic!("the world {seed}: {why}"),
    }
}

#[test]
fn a_world_is_its_number_alone() {
    let lived = |seed| {
        let mut world = World::new(seed);
        let ended = world.live();
        (ended, world.journal(), world.cycles, world.faults)
    };
    assert!(lived(7) == lived(7), "the same number gives two worlds");
    assert!(lived(7).1 != lived(8).1, "two numbers give the same world");
}
