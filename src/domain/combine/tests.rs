//! Simulated worlds: in each it is known what fails with what, so that what a search says can be
//! checked against every set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What breaks a module.
#[derive(Debug, Clone)]
enum Breaks {
    /// A part by itself.
    Part(usize),
    /// Two parts together.
    Both(usize, usize),
    /// One part without the other.
    Without(usize, usize),
}

impl Breaks {
    fn happens(&self, set: &Set) -> bool {
        match *self {
            Self::Part(part) => set.contains(part),
            Self::Both(one, other) => set.contains(one) && set.contains(other),
            Self::Without(one, other) => set.contains(one) && !set.contains(other),
        }
    }
}

/// How much a run says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Red or green.
    Colour,
    /// Every module that fails.
    Names,
    /// One module that fails: the run was stopped there.
    OneName,
}

/// A world: parts, and what breaks each module.
#[derive(Debug, Clone)]
struct World {
    question: Question,
    breaks: Vec<(ModuleName, Breaks)>,
    says: Says,
    /// Modules of which nothing can be found out once a part reaches them.
    blind: BTreeSet<ModuleName>,
}

fn module(number: usize) -> ModuleName {
    ModuleName::new(&format!("m{number:03}"))
}

impl World {
    /// Parts of one module each; `sees` names the earlier ones that each sees, itself not.
    fn new(sees: &[Vec<usize>], says: Says) -> Self {
        let mut closure: Vec<BTreeSet<usize>> = Vec::new();
        for (number, direct) in sees.iter().enumerate() {
            let mut all: BTreeSet<usize> = direct.iter().copied().filter(|other| *other < number).collect();
            for other in all.clone() {
                all.extend(&closure[other]);
            }
            closure.push(all);
        }
        let parts = (0..sees.len())
            .map(|number| {
                let above = (0..sees.len()).filter(|other| closure[*other].contains(&number));
                let reaches = above.chain([number]).map(module).collect();
                Part { modules: BTreeSet::from([module(number)]), reaches }
            })
            .collect();
        let question = Question { parts, already_failing: BTreeSet::new(), most_runs: 100_000 };
        Self { question, breaks: Vec::new(), says, blind: BTreeSet::new() }
    }

    fn independent(count: usize, says: Says) -> Self {
        Self::new(&vec![Vec::new(); count], says)
    }

    fn breaking(mut self, breaks: impl IntoIterator<Item = (usize, Breaks)>) -> Self {
        self.breaks.extend(breaks.into_iter().map(|(number, breaks)| (module(number), breaks)));
        self
    }

    /// A module that does not move and sees these parts.
    fn consumer(mut self, name: &str, sees: &[usize], breaks: Vec<Breaks>) -> Self {
        let name = ModuleName::new(name);
        for part in sees {
            self.question.parts[*part].reaches.insert(name.clone());
        }
        self.breaks.extend(breaks.into_iter().map(|breaks| (name.clone(), breaks)));
        self
    }

    /// Nothing is known of who sees whom: anything may change with anything.
    fn opaque(mut self) -> Self {
        for part in &mut self.question.parts {
            part.reaches.insert(ModuleName::new("everything"));
        }
        self
    }

    fn failing(&self, set: &Set) -> BTreeSet<ModuleName> {
        self.breaks
            .iter()
            .filter(|(name, breaks)| breaks.happens(set) && !self.question.already_failing.contains(name))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn unknown(&self, set: &Set) -> BTreeSet<ModuleName> {
        let reached =
            |name: &&ModuleName| set.iter().any(|part| self.question.parts[part].reaches.contains(*name));
        self.blind.iter().filter(reached).cloned().collect()
    }

    fn is_green(&self, set: &Set) -> bool {
        self.failing(set).is_empty() && self.unknown(set).is_empty()
    }

    fn answer(&self, set: &Set) -> Answer {
        let (mut failing, unknown) = (self.failing(set), self.unknown(set));
        for name in &self.question.already_failing {
            failing.insert(name.clone());
        }
        let colour = if self.is_green(set) {
            Colour::Green
        } else if self.failing(set).is_empty() {
            Colour::Unknown
        } else {
            Colour::Red
        };
        match self.says {
            Says::Colour => Answer::plain(colour),
            Says::OneName if !self.failing(set).is_empty() => {
                Answer::of_modules(self.failing(set).into_iter().take(1).collect(), unknown, BTreeSet::new())
            }
            Says::Names | Says::OneName => {
                let reached = set.iter().flat_map(|part| &self.question.parts[part].reaches);
                let holding = reached.filter(|name| !failing.contains(name) && !unknown.contains(name));
                let holding = holding.cloned().collect();
                Answer::of_modules(failing, unknown, holding)
            }
        }
    }

    /// Ask until it is done.
    fn search(&self) -> Outcome {
        let mut answers: Vec<(Set, Answer)> = Vec::new();
        loop {
            match next(&self.question, &answers) {
                Next::Done(outcome) => {
                    assert_eq!(outcome.runs.len(), answers.len());
                    return outcome;
                }
                Next::Run(ask) => {
                    assert!(!ask.set.is_empty(), "nothing is no set to run");
                    assert!(answers.iter().all(|(set, _)| *set != ask.set), "{:?} is run twice", ask.set);
                    let answer = self.answer(&ask.set);
                    answers.push((ask.set, answer));
                }
            }
        }
    }

    /// What must hold of every outcome.
    fn check(&self) -> Outcome {
        let outcome = self.search();
        assert!(self.is_green(&outcome.green), "{:?} is said to be green", outcome.green);
        let shown = outcome.shown_by.map(|run| &outcome.runs[run]);
        assert_eq!(shown.cloned().unwrap_or_default(), outcome.green, "it was run as a whole");
        assert_eq!(outcome.green.len() + outcome.aside.len(), self.question.parts.len());
        for aside in &outcome.aside {
            let one = Set::one(aside.part);
            let set = outcome.green.with(&one);
            assert!(!self.is_green(&set), "{} can be added to {:?}", aside.part, outcome.green);
            let alone = self.failing(&one);
            match &aside.why {
                Why::Culprit { .. } => assert!(!alone.is_empty(), "{} holds by itself", aside.part),
                Why::Needs { parts } => {
                    assert!(!alone.is_empty());
                    assert!(parts.and(&outcome.green).is_empty() && !parts.is_empty());
                }
                Why::Conflict { with } => {
                    if with.is_empty() {
                        assert!(!self.unknown(&one).is_empty());
                        continue;
                    }
                    assert!(alone.is_empty());
                    assert!(with.without(&outcome.green).is_empty());
                    assert!(!self.is_green(&with.with(&one)), "{} and {with:?} hold", aside.part);
                }
                Why::NotFoundOut => assert!(!self.unknown(&set).is_empty(), "{} fails", aside.part),
            }
            assert!(aside.run.is_some());
        }
        for need in &outcome.needs {
            assert!(outcome.green.contains(need.part));
            assert!(!self.is_green(&outcome.runs[need.without]));
            assert!(outcome.runs[need.without].contains(need.part));
            assert!(self.is_green(&outcome.runs[need.with]) && outcome.runs[need.with].contains(need.part));
        }
        outcome
    }
}

fn why(outcome: &Outcome, part: usize) -> &Why {
    &outcome.aside.iter().find(|aside| aside.part == part).expect("it is aside").why
}

const CULPRIT: Why = Why::Culprit { perhaps_needs: Set::new() };

fn set(parts: impl IntoIterator<Item = usize>) -> Set {
    parts.into_iter().collect()
}

#[test]
fn what_holds_together_takes_one_run() {
    for says in [Says::Colour, Says::Names] {
        let outcome = World::independent(55, says).check();
        assert_eq!((outcome.green.len(), outcome.runs.len()), (55, 1));
    }
    let nothing = World::independent(0, Says::Names).check();
    assert_eq!(nothing, Outcome::default());
}

#[test]
fn named_culprits_take_two_runs() {
    let culprits = [3, 17, 18, 30, 31, 40, 54, 0];
    let breaks = culprits.map(|part| (part, Breaks::Part(part)));
    let outcome = World::independent(55, Says::Names).breaking(breaks).check();
    assert_eq!(outcome.runs.len(), 2);
    for part in culprits {
        assert_eq!(why(&outcome, part), &CULPRIT);
        let aside = outcome.aside.iter().find(|aside| aside.part == part).expect("aside");
        assert_eq!(aside.modules, BTreeSet::from([module(part)]));
    }
}

#[test]
fn what_fails_only_through_a_culprit_is_kept() {
    // 0 is bad, and breaks 1, which sees it; 1 holds without it.
    let world = World::new(&[vec![], vec![0], vec![1], vec![]], Says::Names);
    let world = world.breaking([(0, Breaks::Part(0)), (1, Breaks::Part(0)), (2, Breaks::Part(0))]);
    let outcome = world.check();
    assert_eq!((outcome.green.clone(), outcome.runs.len()), (set([1, 2, 3]), 2));
    assert_eq!(why(&outcome, 0), &CULPRIT);
}

#[test]
fn a_consumer_that_does_not_move_points_at_what_it_sees() {
    for says in [Says::Names, Says::OneName, Says::Colour] {
        let world = World::independent(40, says).consumer("app", &[4, 9, 20, 33], vec![Breaks::Part(20)]);
        let outcome = world.check();
        assert_eq!(outcome.green, Set::below(40).without(&Set::one(20)));
        if says == Says::Names {
            assert!(outcome.runs.len() <= 5, "{:?}", outcome.runs);
        }
    }
}

#[test]
fn of_two_that_break_only_together_the_later_one_stays_out_and_the_pair_is_named() {
    for says in [Says::Names, Says::OneName, Says::Colour] {
        let sees = vec![vec![]; 11].into_iter().chain([vec![2, 5]]).chain(vec![vec![]; 8]);
        let sees: Vec<Vec<usize>> = sees.collect();
        let world = World::new(&sees, says).breaking([(11, Breaks::Both(5, 11))]);
        let outcome = world.check();
        assert_eq!(outcome.green, Set::below(20).without(&Set::one(11)), "{says:?}");
        assert_eq!(why(&outcome, 11), &Why::Conflict { with: Set::one(5) }, "{says:?}");
        // The same where a third module sees both.
        let world = World::independent(20, says).consumer("app", &[3, 5, 11, 13], vec![Breaks::Both(5, 11)]);
        let outcome = world.check();
        assert_eq!(outcome.green.len(), 19);
        let (out, with) = (outcome.aside[0].part, &outcome.aside[0].why);
        assert_eq!((out, with), (11, &Why::Conflict { with: Set::one(5) }), "{says:?}");
    }
}

#[test]
fn what_needs_another_comes_in_with_it() {
    for says in [Says::Names, Says::OneName, Says::Colour] {
        // 6 needs 2; 4 is bad and makes halves necessary.
        let sees: Vec<Vec<usize>> = (0..8).map(|part| if part == 6 { vec![2] } else { vec![] }).collect();
        let world = World::new(&sees, says).breaking([(6, Breaks::Without(6, 2)), (4, Breaks::Part(4))]);
        assert_eq!(world.check().green, Set::below(8).without(&Set::one(4)), "{says:?}");
    }
    // An earlier part that needs a later one: found alone first, and said so.
    let mut world = World::independent(8, Says::Colour);
    world.question.parts[5].reaches.insert(module(1));
    let world = world.breaking([(1, Breaks::Without(1, 5)), (3, Breaks::Part(3))]);
    let outcome = world.check();
    assert_eq!(outcome.green, Set::below(8).without(&Set::one(3)));
    let [need] = outcome.needs.as_slice() else { panic!("{:?}", outcome.needs) };
    assert_eq!((need.part, &need.of), (1, &Set::one(5)));
}

#[test]
fn two_that_hold_only_together_come_in_together() {
    for says in [Says::Names, Says::OneName, Says::Colour] {
        let mut world = World::independent(9, says);
        world.question.parts[1].reaches.insert(module(7));
        world.question.parts[7].reaches.insert(module(1));
        let world =
            world.breaking([(1, Breaks::Without(1, 7)), (7, Breaks::Without(7, 1)), (4, Breaks::Part(4))]);
        assert_eq!(world.check().green, Set::below(9).without(&Set::one(4)), "{says:?}");
    }
}

#[test]
fn what_needs_a_culprit_waits_for_it() {
    // 2 is bad by itself and 5 fails without it, as the first run showed: it held there.
    let sees: Vec<Vec<usize>> = (0..8).map(|part| if part == 5 { vec![2] } else { vec![] }).collect();
    let world =
        |says| World::new(&sees, says).breaking([(2, Breaks::Part(2)), (5, Breaks::Without(5, 2))]).check();
    let outcome = world(Says::Names);
    assert_eq!(why(&outcome, 2), &CULPRIT);
    assert_eq!(why(&outcome, 5), &Why::Needs { parts: Set::one(2) });
    // Where runs do not name who fails, that cannot be told from failing itself.
    let outcome = world(Says::Colour);
    assert_eq!(why(&outcome, 5), &Why::Culprit { perhaps_needs: Set::one(2) });
}

#[test]
fn all_bad_all_unknown_and_a_bound_are_said_as_they_are() {
    for says in [Says::Names, Says::OneName, Says::Colour] {
        let all = World::independent(7, says).breaking((0..7).map(|part| (part, Breaks::Part(part))));
        let outcome = all.check();
        assert!(outcome.green.is_empty() && outcome.shown_by.is_none());
        assert!(outcome.aside.iter().all(|aside| aside.why == CULPRIT));
        let mut blind = World::independent(7, says);
        blind.blind = (0..7).map(module).collect();
        let outcome = blind.check();
        assert_eq!(outcome.runs.len(), 1, "{says:?}");
        assert!(outcome.aside.iter().all(|aside| aside.why == Why::NotFoundOut));
        let mut bound = World::independent(55, says).breaking([(20, Breaks::Part(20))]);
        bound.question.most_runs = if says == Says::Colour { 4 } else { 1 };
        let outcome = bound.search();
        assert!(outcome.over_bound && bound.is_green(&outcome.green));
        assert!(outcome.aside.iter().any(|aside| aside.why == Why::NotFoundOut));
    }
}

#[test]
fn one_blind_module_keeps_out_only_what_reaches_it() {
    let mut world = World::new(&[vec![], vec![0], vec![], vec![2]], Says::Names);
    world.blind = BTreeSet::from([module(3)]);
    let outcome = world.check();
    // 2 changes what 3 sees: of 3 nothing is known then.
    assert_eq!(outcome.green, set([0, 1]));
    assert_eq!((why(&outcome, 2), why(&outcome, 3)), (&Why::NotFoundOut, &Why::NotFoundOut));
}

#[test]
fn what_failed_before_is_nobodys_fault() {
    let mut world = World::independent(6, Says::Names).breaking([(4, Breaks::Part(4))]);
    world.question.already_failing = BTreeSet::from([module(2)]);
    let outcome = world.check();
    assert_eq!(outcome.green, Set::below(6).without(&Set::one(4)));
}

#[test]
fn an_answer_that_changes_by_itself_keeps_nothing_going() {
    // Every answer is drawn, whatever the set.
    let mut seed = 1_u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for _ in 0..200 {
        let mut question = World::independent(20, Says::Names).opaque().question;
        question.most_runs = 300;
        let mut answers = Vec::new();
        let outcome = loop {
            match next(&question, &answers) {
                Next::Done(outcome) => break outcome,
                Next::Run(ask) => {
                    let failing = (0..20).filter(|_| draw() % 9 == 0).map(module).collect();
                    answers.push((ask.set, Answer::of_modules(failing, BTreeSet::new(), BTreeSet::new())));
                }
            }
        };
        assert!(outcome.runs.len() <= 300);
        let shown = outcome.shown_by.map(|run| outcome.runs[run].clone());
        assert_eq!(shown.unwrap_or_default(), outcome.green);
    }
}

#[test]
fn earlier_failures_are_run_first() {
    let world = World::independent(9, Says::Names).consumer("app", &[3, 5], vec![Breaks::Part(3)]);
    let whole = Set::below(9);
    let Next::Run(first) = next(&world.question, &[]) else { panic!("there is something to run") };
    assert_eq!((first.set, first.first), (whole.clone(), Vec::new()));
    let Next::Run(second) = next(&world.question, &[(whole.clone(), world.answer(&whole))]) else {
        panic!("it is red");
    };
    assert_eq!(second.first, [ModuleName::new("app")]);
}

/// The average number of runs over many draws of culprits.
fn average(count: usize, culprits: usize, says: Says, opaque: bool) -> f64 {
    const DRAWS: usize = 100;
    let mut seed = 42_u64;
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    let mut runs = 0;
    for _ in 0..DRAWS {
        let mut bad = BTreeSet::new();
        while bad.len() < culprits {
            bad.insert(draw(count));
        }
        let world = World::independent(count, says);
        let world = if opaque { world.opaque() } else { world };
        let world = world.breaking(bad.iter().map(|part| (*part, Breaks::Part(*part))));
        let outcome = world.search();
        assert!(outcome.aside.iter().map(|aside| aside.part).eq(bad));
        assert!(outcome.aside.iter().all(|aside| matches!(aside.why, Why::Culprit { .. })));
        runs += outcome.runs.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers, for people")]
    let average = runs as f64 / DRAWS as f64;
    average
}

#[test]
fn the_number_of_runs_is_that_of_the_best() {
    println!("runs on average, 55 parts, 100 draws: culprits 1 / 3 / 8");
    let row = |said: &str, says, opaque| {
        let runs = [1, 3, 8].map(|culprits| average(55, culprits, says, opaque));
        println!("{said:50} {:6.1} {:6.1} {:6.1}", runs[0], runs[1], runs[2]);
        runs
    };
    let colour = row("red or green", Says::Colour, false);
    assert!(colour[0] <= 10.0 && colour[1] <= 21.0 && colour[2] <= 42.0, "{colour:?}");
    let opaque = row("red or green, who sees whom unknown", Says::Colour, true);
    assert!(opaque[0] <= 11.0 && opaque[1] <= 27.0 && opaque[2] <= 56.0, "{opaque:?}");
    let one = row("one failing module named", Says::OneName, false);
    assert!(one[0] <= 2.0 && one[1] <= 4.0 && one[2] <= 9.0, "{one:?}");
    let names = row("all failing modules named", Says::Names, false);
    assert!(names.iter().all(|runs| *runs <= 2.0), "{names:?}");
}

/// A world with anything in it.
fn worlds() -> impl Strategy<Value = World> {
    let says = prop_oneof![Just(Says::Colour), Just(Says::Names), Just(Says::OneName)];
    (1..14_usize, says, any::<bool>()).prop_flat_map(|(count, says, opaque)| {
        let direct = proptest::collection::vec(proptest::collection::vec(0..count, 0..3), count);
        let breaks = (0..count, 0..count, 0..3_u8);
        let consumers = proptest::collection::vec(
            (
                proptest::collection::btree_set(0..count, 1..5),
                proptest::collection::vec(breaks.clone(), 0..2),
            ),
            0..3,
        );
        let breaks = proptest::collection::vec((0..count, breaks), 0..6);
        let blind = proptest::option::weighted(0.1, 0..count);
        (direct, breaks, consumers, blind, Just(says), Just(opaque)).prop_map(
            |(direct, breaks, consumers, blind, says, opaque)| {
                let mut world = World::new(&direct, says);
                let sees = |world: &World, name: &ModuleName, part: usize| {
                    world.question.parts[part].reaches.contains(name)
                };
                let kind = |(one, other, kind)| match kind {
                    0 => Breaks::Part(one),
                    1 => Breaks::Both(one, other),
                    _ => Breaks::Without(one, other),
                };
                for (number, (_, other, way)) in breaks {
                    // A module is broken by what it sees, itself among it.
                    let mut breaks = kind((number, other, way));
                    if !sees(&world, &module(number), other) || other == number {
                        breaks = Breaks::Part(number);
                    }
                    world.breaks.push((module(number), breaks));
                }
                for (at, (seen, breaks)) in consumers.into_iter().enumerate() {
                    let below: Vec<usize> = seen.into_iter().collect();
                    let pick = |number: usize| below[number % below.len()];
                    let breaks = breaks.into_iter().map(|(one, other, way)| {
                        let (one, other) = (pick(one), pick(other));
                        if one == other { Breaks::Part(one) } else { kind((one, other, way)) }
                    });
                    world = world.clone().consumer(&format!("app{at}"), &below, breaks.collect());
                }
                // A run that cannot say what it does not know ends the search.
                world.blind = blind.filter(|_| says != Says::Colour).map(module).into_iter().collect();
                if opaque { world.opaque() } else { world }
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_set_is_green_and_nothing_can_be_added(world in worlds()) {
        world.check();
    }

    #[test]
    fn where_more_never_helps_every_part_that_fails_alone_is_named(mut world in worlds()) {
        world.breaks.retain(|(_, breaks)| !matches!(breaks, Breaks::Without(..)));
        world.blind.clear();
        let outcome = world.check();
        for part in 0..world.question.parts.len() {
            if !world.failing(&Set::one(part)).is_empty() {
                let aside = outcome.aside.iter().find(|aside| aside.part == part).expect("it is aside");
                prop_assert!(matches!(aside.why, Why::Culprit { .. }), "{:?}", aside);
            }
        }
    }

    #[test]
    fn a_bound_is_kept_and_nothing_is_made_up(mut world in worlds(), most in 0..12_usize) {
        world.question.most_runs = most;
        let outcome = world.search();
        prop_assert!(outcome.runs.len() <= most && world.is_green(&outcome.green));
        for aside in &outcome.aside {
            if matches!(aside.why, Why::Culprit { .. }) {
                prop_assert!(!world.failing(&Set::one(aside.part)).is_empty());
            }
        }
    }
}
