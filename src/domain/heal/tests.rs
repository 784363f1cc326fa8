use super::*;

#[test]
fn only_an_end_that_gave_the_module_its_chance_counts_for_the_breaker() {
    use HealEnd::{CutShort, Healed, NotConfirmed, Overtaken, Restored, Stuck, TargetBad, WouldBreak};
    for end in [Healed, Restored, TargetBad, WouldBreak, Stuck] {
        assert!(end.counts(), "{end:?}");
    }
    for end in [NotConfirmed, CutShort, Overtaken] {
        assert!(!end.counts(), "{end:?}");
    }
}

mod laws {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use crate::domain::event::Event;
    use crate::domain::heal::history::Now;
    use crate::domain::heal::{BREAKER, Decision, Facts, HealEnd, HealLimits, Heals, Reason, Uptime, decide};
    use crate::domain::health::evidence::Lasting;
    use crate::domain::health::{Step, Strength, Verdict, VerdictRecord, Verdicts};
    use crate::domain::id::{Cid, ModuleName, ObjectId};
    use crate::domain::report::ModuleHealth;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn at(byte: u8) -> ObjectId {
        ObjectId::from_bytes(&[byte; 20]).unwrap()
    }

    fn name(number: usize) -> ModuleName {
        ModuleName::new(&format!("m{number}"))
    }

    fn verdict(kind: u8) -> Verdict {
        let reason = || "r".to_owned();
        match kind {
            0 => Verdict::STRONG,
            1 => Verdict::Healthy { strength: Strength::Weak, reason: Some(reason()) },
            2 => Verdict::Failed { step: Step::Command, reason: reason() },
            3 => Verdict::TimedOut { step: Step::Command, reason: reason() },
            _ => Verdict::Unknown { reason: reason() },
        }
    }

    /// One verification of one module, in the order of the journal.
    #[derive(Debug, Clone)]
    struct Seen {
        revision: u8,
        tools: u8,
        kind: u8,
        flaky: bool,
        base: bool,
    }

    #[derive(Debug, Clone)]
    struct One {
        seen: Vec<Seen>,
        ends: Vec<(HealEnd, i64)>,
        held: bool,
        unclean: bool,
    }

    fn one() -> impl Strategy<Value = One> {
        let seen = (0..4_u8, 0..2_u8, 0..5_u8, any::<bool>(), any::<bool>())
            .prop_map(|(revision, tools, kind, flaky, base)| Seen { revision, tools, kind, flaky, base });
        let end = prop_oneof![
            Just(HealEnd::Healed),
            Just(HealEnd::Restored),
            Just(HealEnd::TargetBad),
            Just(HealEnd::NotConfirmed),
            Just(HealEnd::CutShort),
        ];
        let ends = proptest::collection::vec((end, 0..2 * DAY), 0..3);
        (
            proptest::collection::vec(seen, 1..8),
            ends,
            proptest::bool::weighted(0.2),
            proptest::bool::weighted(0.2),
        )
            .prop_map(|(seen, ends, held, unclean)| One { seen, ends, held, unclean })
    }

    struct World {
        rows: Vec<ModuleHealth>,
        verdicts: Verdicts,
        heals: Heals,
        holds: BTreeMap<ModuleName, String>,
        unclean: BTreeMap<ModuleName, String>,
    }

    const NOW: i64 = 100 * DAY;

    /// The last verification of each module is that of the workspace now.
    fn world(all: &[One]) -> World {
        let mut world = World {
            rows: Vec::new(),
            verdicts: Verdicts::default(),
            heals: Heals::default(),
            holds: BTreeMap::new(),
            unclean: BTreeMap::new(),
        };
        let mut seq = 0;
        for (number, one) in all.iter().enumerate() {
            let module = name(number);
            for (nth, seen) in one.seen.iter().enumerate() {
                seq += 1;
                let last = nth + 1 == one.seen.len();
                let key = Cid::of(&[seen.revision, seen.tools]);
                let record = VerdictRecord {
                    key,
                    sees: Cid::of(&[seen.revision]),
                    revision: at(seen.revision),
                    verdict: verdict(seen.kind),
                    lasting: Lasting::Permanent,
                    flaky: seen.flaky,
                    evidence: Cid::of(format!("{module} {nth}").as_bytes()),
                    derivations: None,
                    base: seen.base || last,
                    healthy_once: false,
                    transient_count: 1,
                    seq,
                    wall_ms: 0,
                };
                if last {
                    world.rows.push(ModuleHealth {
                        name: module.clone(),
                        verdict: record.verdict.clone(),
                        revision: Some(record.revision),
                        key: Some(key),
                        evidence: Some(record.evidence),
                        since_ms: None,
                        flaky: seen.flaky,
                        asked: true,
                    });
                }
                world.verdicts.add(&module, record);
            }
            for (end, ago) in &one.ends {
                seq += 2;
                heal(&mut world.heals, &module, seq, *end, NOW - ago, "earlier");
            }
            if one.held {
                world.holds.insert(module.clone(), "a person".to_owned());
            }
            if one.unclean {
                world.unclean.insert(module.clone(), "changes".to_owned());
            }
        }
        world
    }

    fn heal(heals: &mut Heals, module: &ModuleName, seq: u64, outcome: HealEnd, wall_ms: i64, boot: &str) {
        let (from, to, cid) = (at(9), at(8), Cid::of(b""));
        let started =
            Event::HealStarted { module: module.clone(), from, to, bad: cid, good: cid, proposal: None };
        heals.apply(seq, wall_ms, &started);
        let mono_ms = u64::try_from(wall_ms).unwrap();
        let finished = Event::HealFinished {
            module: module.clone(),
            started: seq,
            outcome,
            commit: None,
            evidence: None,
            reason: None,
            freezes: false,
            at: Uptime { boot: boot.to_owned(), mono_ms },
        };
        heals.apply(seq + 1, wall_ms, &finished);
    }

    #[test]
    fn what_was_not_confirmed_is_not_tried_again_at_once_and_the_wait_doubles() {
        let (module, mut heals) = (name(0), Heals::default());
        let now = |minutes: i64| {
            let wall_ms = DAY + minutes * 60_000;
            let mono_ms = u64::try_from(wall_ms).unwrap();
            Now { wall_ms, uptime: Uptime { boot: "boot".to_owned(), mono_ms } }
        };
        let waits = |heals: &Heals, to: u8, minutes: i64| {
            heals.tried_just_now(&module, at(9), at(to), &now(minutes)).is_some()
        };
        assert!(!waits(&heals, 8, 0), "it was never tried");
        heal(&mut heals, &module, 1, HealEnd::NotConfirmed, DAY, "boot");
        assert!(waits(&heals, 8, 14) && !waits(&heals, 8, 16));
        assert!(!waits(&heals, 7, 0), "another way back is another matter");
        heal(&mut heals, &module, 3, HealEnd::NotConfirmed, DAY, "boot");
        assert!(waits(&heals, 8, 29) && !waits(&heals, 8, 31));
        heal(&mut heals, &module, 5, HealEnd::CutShort, DAY, "boot");
        assert!(!waits(&heals, 8, 0), "something else came in between");
    }

    fn facts<'a>(
        world: &'a World,
        floor: &'a dyn Fn(&ModuleName, ObjectId) -> Result<(), String>,
        limits: HealLimits,
    ) -> Facts<'a> {
        Facts {
            rows: &world.rows,
            verdicts: &world.verdicts,
            heals: &world.heals,
            holds: &world.holds,
            unclean: &world.unclean,
            limits,
            floor,
            now: now("earlier"),
        }
    }

    fn now(boot: &str) -> Now {
        let mono_ms = u64::try_from(NOW).unwrap();
        Now { wall_ms: NOW, uptime: Uptime { boot: boot.to_owned(), mono_ms } }
    }

    proptest! {
        #[test]
        fn whatever_happened_before(all in proptest::collection::vec(one(), 1..7), floor in 0..4_u8, limit in 0..4_usize) {
            let world = world(&all);
            let limits = HealLimits { max_rollbacks_per_cycle: limit, window_ms: DAY };
            let above = |_: &ModuleName, revision: ObjectId| {
                if revision == at(floor) { Err("below".to_owned()) } else { Ok(()) }
            };
            let decided = decide(&facts(&world, &above, limits));
            let mut healed = 0;
            for (number, one) in all.iter().enumerate() {
                let module = name(number);
                let last = one.seen.last().unwrap();
                let bad = (2..4).contains(&last.kind);
                let decision = decided.modules.get(&module);
                // What is not known to be bad is never touched, and what is bad is always spoken of.
                prop_assert_eq!(decision.is_some(), bad);
                let Some(Decision::Heal(course)) = decision else { continue };
                healed += 1;
                prop_assert_eq!(course.from, at(last.revision));
                prop_assert_ne!(course.to, course.from);
                prop_assert_ne!(course.to, at(floor));
                prop_assert!(!one.held && !one.unclean);
                // Only to what the newest verdict on some key says is strong, in the workspace itself.
                let known = world.verdicts.of(&module);
                let good: Vec<_> = known.iter().filter(|it| it.is_good()).collect();
                let target = good.iter().find(|it| it.evidence == course.good);
                prop_assert_eq!(target.map(|it| it.revision), Some(course.to));
                // The newest that is allowed, not one further back.
                let newer = good.iter().filter(|it| it.seq > target.unwrap().seq);
                for it in newer {
                    prop_assert!(it.revision == at(floor) || world.heals.is_bad(&module, it.revision));
                }
                // Not on the same inputs that were healthy once.
                let same = one.seen.iter().any(|it| it.revision == last.revision && it.kind < 2);
                prop_assert!(!same);
                let counted = one.ends.iter().filter(|(end, ago)| end.counts() && *ago < DAY).count();
                prop_assert!(counted < BREAKER);
            }
            prop_assert!(healed <= limit);
            if let Some(stopped) = &decided.stopped {
                prop_assert_eq!(healed, 0);
                prop_assert!(stopped.bad > limit);
            }
        }
    }

    #[test]
    fn a_window_is_not_moved_by_setting_the_clock() {
        let (module, limits) = (name(0), HealLimits { window_ms: DAY, ..HealLimits::default() });
        let mut heals = Heals::default();
        heal(&mut heals, &module, 1, HealEnd::Healed, NOW, "this");
        let count = |wall_ms: i64, boot: &str, mono_ms: i64| {
            let uptime = Uptime { boot: boot.to_owned(), mono_ms: u64::try_from(mono_ms).unwrap() };
            heals.recent(&module, &limits, &Now { wall_ms, uptime })
        };
        assert_eq!(count(NOW + 365 * DAY, "this", NOW + 1), 1, "the wall clock went forward");
        assert_eq!(count(NOW - 365 * DAY, "this", NOW + 1), 1, "the wall clock went back");
        assert_eq!(count(NOW, "this", NOW + DAY), 0, "the window is over");
        assert_eq!(count(NOW - 365 * DAY, "other", 5), 1, "across boots, a clock that went back counts it");
        assert_eq!(count(NOW + DAY, "other", 5), 0);
    }

    #[test]
    fn a_module_whose_own_pin_did_not_move_is_not_taken_back_further() {
        let seen = |revision, tools, kind| Seen { revision, tools, kind, flaky: false, base: true };
        let one = One {
            seen: vec![seen(1, 0, 0), seen(2, 0, 0), seen(2, 1, 2)],
            ends: vec![],
            held: false,
            unclean: false,
        };
        let mut world = world(&[one]);
        // What it sees is another than when it was healthy, at the same pin.
        let mut other = world.verdicts.of(&name(0)).last().unwrap().clone();
        (other.sees, other.key) = (Cid::of(b"below"), Cid::of(b"another key"));
        world.rows[0].key = Some(other.key);
        world.verdicts.add(&name(0), other);
        let decided = decide(&facts(&world, &|_, _| Ok(()), HealLimits::default()));
        assert_eq!(decided.modules[&name(0)], Decision::Leave(Reason::BelowIt));
    }
}
