//! What follows from the runs so far.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Colour, Question, Set};
use crate::domain::id::ModuleName;

/// Who sees what, by number.
pub(super) struct Sight {
    /// Each module that some part has an influence on, with the parts that it sees.
    seen: BTreeMap<ModuleName, Set>,
    /// The part that moves a module.
    own: BTreeMap<ModuleName, usize>,
    /// By part: every part that some module sees together with it, itself among them.
    beside: Vec<Set>,
    /// By part: the parts that its own modules see, without itself.
    sees: Vec<Set>,
    all: Set,
}

impl Sight {
    pub(super) fn of(question: &Question) -> Self {
        let mut by_module: BTreeMap<ModuleName, Set> = BTreeMap::new();
        let mut own = BTreeMap::new();
        for (number, part) in question.parts.iter().enumerate() {
            for module in part.reaches.iter().chain(&part.modules) {
                by_module.entry(module.clone()).or_default().insert(number);
            }
            own.extend(part.modules.iter().map(|module| (module.clone(), number)));
        }
        let beside = question.parts.iter().enumerate().map(|(number, part)| {
            let reached = part.reaches.iter().chain(&part.modules).filter_map(|module| by_module.get(module));
            reached.fold(Set::one(number), |all, seen| all.with(seen))
        });
        let beside = beside.collect();
        let sees = question.parts.iter().enumerate().map(|(number, part)| {
            let all = part.modules.iter().filter_map(|module| by_module.get(module));
            all.fold(Set::default(), |all, seen| all.with(seen)).without(&Set::one(number))
        });
        let sees = sees.collect();
        Self { seen: by_module, own, beside, sees, all: Set::below(question.parts.len()) }
    }

    /// The parts that a module sees; all of them where nothing is known of it.
    pub(super) fn seen_by(&self, module: &ModuleName) -> &Set {
        self.seen.get(module).unwrap_or(&self.all)
    }

    /// The part that moves a module.
    pub(super) fn own(&self, module: &ModuleName) -> Option<usize> {
        self.own.get(module).copied()
    }

    /// Every part that may change what a part does, itself among them.
    pub(super) fn beside(&self, part: usize) -> &Set {
        &self.beside[part]
    }

    /// True when one part's modules see the other part.
    pub(super) fn linked(&self, one: usize, other: usize) -> bool {
        self.sees[one].contains(other) || self.sees[other].contains(one)
    }

    /// The parts that a part's own modules see, without itself.
    pub(super) fn sees(&self, part: usize) -> &Set {
        &self.sees[part]
    }

    pub(super) fn all(&self) -> &Set {
        &self.all
    }
}

/// A set that was run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) set: Set,
    pub(super) answer: Answer,
    /// The part to which it is due that it is not green: all of it but this one was green.
    pub(super) due_to: Option<usize>,
}

impl Run {
    /// The modules for which it is not green.
    pub(super) fn troubled(&self) -> impl Iterator<Item = &ModuleName> {
        self.answer.failing.iter().chain(&self.answer.unknown)
    }
}

/// The runs so far, in order.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) runs: Vec<Run>,
    by_set: BTreeMap<Set, usize>,
}

/// That a set is not green, and which run says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotGreen {
    pub(super) run: usize,
    pub(super) colour: Colour,
}

impl Facts {
    /// The run of exactly this set.
    pub(super) fn exactly(&self, set: &Set) -> Option<usize> {
        self.by_set.get(set).copied()
    }

    /// One more run; gives its number.
    pub(super) fn add(&mut self, set: Set, answer: Answer) -> usize {
        self.by_set.insert(set.clone(), self.runs.len());
        self.runs.push(Run { set, answer, due_to: None });
        self.runs.len() - 1
    }

    /// That this set is not green, when that follows.
    pub(super) fn not_green(&self, sight: &Sight, set: &Set) -> Option<NotGreen> {
        if let Some(run) = self.exactly(set) {
            let colour = self.runs[run].answer.colour;
            return (colour != Colour::Green).then_some(NotGreen { run, colour });
        }
        let mut unknown = None;
        for (number, run) in self.runs.iter().enumerate() {
            let same = |module: &&ModuleName| run.set.agree(set, sight.seen_by(module));
            if run.answer.failing.iter().any(|module| same(&module)) {
                return Some(NotGreen { run: number, colour: Colour::Red });
            }
            let due = run.due_to.filter(|part| set.contains(*part));
            if due.is_some_and(|part| run.set.agree(set, sight.beside(part))) {
                match run.answer.colour {
                    Colour::Red => return Some(NotGreen { run: number, colour: Colour::Red }),
                    Colour::Unknown => unknown = Some(number),
                    Colour::Green => {}
                }
            }
            if run.answer.unknown.iter().any(|module| same(&module)) {
                unknown = Some(number);
            }
        }
        unknown.map(|run| NotGreen { run, colour: Colour::Unknown })
    }

    /// What a set lacks that a module was seen to hold with, and a part of the set: the least of it.
    pub(super) fn missing(&self, sight: &Sight, module: &ModuleName, set: &Set, part: usize) -> Option<Set> {
        let holds = self.runs.iter().filter(|run| {
            run.set.contains(part)
                && (run.answer.colour == Colour::Green || run.answer.holding.contains(module))
        });
        holds
            .map(|run| run.set.and(sight.seen_by(module)).without(set))
            .filter(|missing| !missing.is_empty())
            .min_by_key(|missing| (missing.len(), missing.clone()))
    }

    /// The modules for which a set is not green by what a run showed: in both they see the same.
    pub(super) fn troubled_in<'a>(
        &'a self,
        sight: &'a Sight,
        run: usize,
        set: &'a Set,
    ) -> impl Iterator<Item = &'a ModuleName> {
        let run = &self.runs[run];
        run.troubled().filter(move |module| run.set.agree(set, sight.seen_by(module)))
    }

    /// The modules that failed, the newest failure first.
    pub(super) fn failed(&self, among: impl Fn(&ModuleName) -> bool) -> Vec<ModuleName> {
        let mut met = BTreeSet::new();
        let newest = self.runs.iter().rev().flat_map(|run| &run.answer.failing);
        newest.filter(|module| among(module) && met.insert(*module)).cloned().collect()
    }
}
