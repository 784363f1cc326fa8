//! The search itself, as one function that is followed anew from its beginning each time.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, NotGreen, Sight};
use super::{Answer, Aside, Ask, Colour, Need, Next, Outcome, Question, Set, Why};

/// Most runs that go into parts which might be green only together.
const MOST_GROUP_RUNS: usize = 16;

/// What to run next, or what was found. `answers` are those of the runs so far, in any order; of two
/// on the same set the first counts.
#[must_use]
pub fn next(question: &Question, answers: &[(Set, Answer)]) -> Next {
    let mut known: BTreeMap<&Set, &Answer> = BTreeMap::new();
    for (set, answer) in answers {
        known.entry(set).or_insert(answer);
    }
    let mut search = Search {
        question,
        sight: Sight::of(question),
        known,
        facts: Facts::default(),
        green: Set::default(),
        shown_by: None,
        pending: Set::below(question.parts.len()),
        aside: BTreeMap::new(),
        needs: Vec::new(),
        why: BTreeMap::new(),
        group_runs: 0,
    };
    match search.go() {
        Ok(()) => Next::Done(search.outcome(false)),
        Err(Stop::OverBound) => Next::Done(search.outcome(true)),
        Err(Stop::Run(ask)) => Next::Run(ask),
    }
}

/// Why the search cannot go on by itself.
enum Stop {
    /// An answer is missing.
    Run(Ask),
    /// No more runs are allowed.
    OverBound,
}

struct Search<'a> {
    question: &'a Question,
    sight: Sight,
    known: BTreeMap<&'a Set, &'a Answer>,
    facts: Facts,
    /// What was green as a whole.
    green: Set,
    shown_by: Option<usize>,
    /// What was not tried by itself yet.
    pending: Set,
    /// What did not hold on top of the green set, and what shows that.
    aside: BTreeMap<usize, NotGreen>,
    needs: Vec<Need>,
    why: BTreeMap<usize, Why>,
    group_runs: usize,
}

impl Search<'_> {
    fn go(&mut self) -> Result<(), Stop> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let whole = self.pending.clone();
        let run = self.run(&whole)?;
        let answer = &self.facts.runs[run].answer;
        if answer.colour == Colour::Unknown && answer.holding.is_empty() {
            // Nothing can be found out here and now: halves would say no more.
            return Ok(());
        }
        loop {
            while !self.pending.is_empty() {
                self.settle_known();
                let block = self.block();
                self.pending = self.pending.without(&block);
                self.descend(block)?;
            }
            if !self.add_more()? {
                break;
            }
        }
        self.say_why()
    }

    /// Run a set, or find what was run. Gives the run's number.
    fn run(&mut self, set: &Set) -> Result<usize, Stop> {
        if let Some(run) = self.facts.exactly(set) {
            return Ok(run);
        }
        if self.facts.runs.len() >= self.question.most_runs {
            return Err(Stop::OverBound);
        }
        let Some(answer) = self.known.get(set) else {
            let touched = |module: &_| !self.sight.seen_by(module).and(set).is_empty();
            return Err(Stop::Run(Ask { set: set.clone(), first: self.facts.failed(touched) }));
        };
        let answer = answer.beyond(&self.question.already_failing);
        Ok(self.facts.add(set.clone(), answer))
    }

    /// What shows that a set is not green; `None` when it is, and then it was run.
    fn try_set(&mut self, set: &Set) -> Result<Option<NotGreen>, Stop> {
        if let Some(known) = self.facts.not_green(&self.sight, set) {
            return Ok(Some(known));
        }
        let run = self.run(set)?;
        let colour = self.facts.runs[run].answer.colour;
        Ok((colour != Colour::Green).then_some(NotGreen { run, colour }))
    }

    /// Try these on top of the green set, and keep them there when they hold.
    fn try_on_top(&mut self, more: &Set) -> Result<Option<NotGreen>, Stop> {
        let set = self.green.with(more);
        let shown = self.try_set(&set)?;
        if shown.is_none() {
            self.shown_by = self.facts.exactly(&set);
            self.green = set;
        }
        Ok(shown)
    }

    /// Put aside what is known not to hold on top of the green set.
    fn settle_known(&mut self) {
        for part in self.pending.clone().iter() {
            let one = Set::one(part);
            if let Some(shown) = self.facts.not_green(&self.sight, &self.green.with(&one)) {
                self.pending = self.pending.without(&one);
                self.put_aside(part, shown);
            }
        }
    }

    fn put_aside(&mut self, part: usize, shown: NotGreen) {
        let run = &mut self.facts.runs[shown.run];
        if run.set == self.green.with(&Set::one(part)) {
            run.due_to = Some(part);
        }
        self.aside.insert(part, shown);
    }

    /// The parts to try next: all when runs name who fails, else about as many as are green together
    /// every second time, from how many of those that were tried are not.
    fn block(&self) -> Set {
        let named = self.facts.runs.iter().any(|run| run.troubled().next().is_some());
        if named || self.aside.is_empty() {
            return self.pending.clone();
        }
        let bad = 2 * self.aside.len() + 1;
        let tried = 2 * (self.green.len() + self.aside.len()) + 20;
        // ln 2 / p, rounded, less the third that ln(1 - p) is off by.
        let count = (693 * tried / bad + 150) / 1000;
        self.pending.iter().take(count.max(1)).collect()
    }

    /// Find those of a block that hold on top of the green set. Membership is frozen: what is left over of
    /// a half that was not looked into is pending again.
    fn descend(&mut self, block: Set) -> Result<(), Stop> {
        let mut block = block;
        if block.is_empty() {
            return Ok(());
        }
        let Some(mut shown) = self.try_on_top(&block)? else { return Ok(()) };
        loop {
            if block.len() == 1 {
                block.iter().for_each(|part| self.put_aside(part, shown));
                return Ok(());
            }
            let (keep, put_off) = self.split(&block, shown.run);
            if keep.is_empty() {
                for part in put_off.iter() {
                    self.descend(Set::one(part))?;
                }
                return Ok(());
            }
            match self.try_on_top(&keep)? {
                // The whole was not green, and one half is: the other half need not be run.
                None => block = put_off,
                Some(other) => {
                    self.pending = self.pending.with(&put_off);
                    (block, shown) = (keep, other);
                }
            }
        }
    }

    /// What of a block that is not green to try, and what to put off: who is to blame, as far as the run
    /// says it, else the later half. The second is never empty; the first is when all are to blame.
    fn split(&self, block: &Set, run: usize) -> (Set, Set) {
        let run = &self.facts.runs[run];
        let mut blamed = Set::default();
        for module in run.troubled() {
            let own = self.sight.own(module);
            let seen = self.sight.seen_by(module);
            // What fails below it may be why it fails.
            let below = run.troubled().any(|other| {
                let part = self.sight.own(other).filter(|part| run.set.contains(*part) && Some(*part) != own);
                part.is_some_and(|part| seen.contains(part))
            });
            let suspects = seen.and(block);
            if below || suspects.is_empty() {
                continue;
            }
            match own.filter(|part| suspects.contains(*part)) {
                Some(part) => blamed.insert(part),
                None => blamed = blamed.with(&later_half(&suspects)),
            }
        }
        if blamed.is_empty() {
            blamed = later_half(block);
        }
        (block.without(&blamed), blamed)
    }

    /// Add what can be added to the green set now that it is what it is. True when something was.
    fn add_more(&mut self) -> Result<bool, Stop> {
        let mut grew = false;
        let mut again = true;
        while again {
            again = false;
            for part in self.aside.keys().copied().collect::<Vec<_>>() {
                if let Some(shown) = self.try_on_top(&Set::one(part))? {
                    self.put_aside(part, shown);
                } else {
                    let before = self.aside.remove(&part);
                    self.note_need(part, before);
                    (grew, again) = (true, true);
                }
            }
        }
        if grew {
            return Ok(true);
        }
        for group in self.groups() {
            if self.group_runs >= MOST_GROUP_RUNS {
                break;
            }
            let runs = self.facts.runs.len();
            let shown = self.try_on_top(&group)?;
            self.group_runs += self.facts.runs.len() - runs;
            if shown.is_none() {
                let with = self.shown_by;
                for part in group.iter() {
                    let before = self.aside.remove(&part);
                    if let (Some(before), Some(with)) = (before, with) {
                        let of = group.without(&Set::one(part));
                        self.needs.push(Need { part, of, without: before.run, with });
                    }
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A part that failed before holds now: with what is there now and was not then.
    fn note_need(&mut self, part: usize, before: Option<NotGreen>) {
        let (Some(before), Some(with)) = (before, self.shown_by) else { return };
        let then = &self.facts.runs[before.run].set;
        let of = self.green.and(self.sight.beside(part)).without(then);
        // Nothing that it sees is different: the answer changed by itself.
        if !of.is_empty() {
            self.needs.push(Need { part, of, without: before.run, with });
        }
    }

    /// Parts aside that see each other: all that hang together, then pairs.
    fn groups(&self) -> Vec<Set> {
        let aside: Vec<usize> = self.aside.keys().copied().collect();
        let mut left = aside.clone();
        let mut groups = Vec::new();
        while let Some(start) = left.pop() {
            let mut group = vec![start];
            let mut at = 0;
            while at < group.len() {
                let here = group[at];
                let (linked, others) = left.into_iter().partition(|other| self.sight.linked(here, *other));
                left = others;
                group.extend::<Vec<usize>>(linked);
                at += 1;
            }
            if group.len() > 2 {
                groups.push(group.into_iter().collect());
            }
        }
        groups.sort();
        let pairs = aside.iter().enumerate().flat_map(|(at, one)| {
            let later = aside[at + 1..].iter().filter(|other| self.sight.linked(*one, **other));
            later.map(|other| [*one, *other].into_iter().collect::<Set>())
        });
        groups.extend(pairs);
        groups
    }

    /// Say of each part aside why.
    fn say_why(&mut self) -> Result<(), Stop> {
        for (part, shown) in self.aside.clone() {
            let why = match shown.colour {
                Colour::Unknown => Why::NotFoundOut,
                _ => self.why(part, shown)?,
            };
            self.why.insert(part, why);
        }
        Ok(())
    }

    fn why(&mut self, part: usize, shown: NotGreen) -> Result<Why, Stop> {
        match self.try_set(&Set::one(part))?.map(|alone| alone.colour) {
            Some(Colour::Red) => {}
            Some(_) => return Ok(Why::Conflict { with: Set::default() }),
            None => return Ok(Why::Conflict { with: self.partner(part, shown)? }),
        }
        if let Some(parts) = self.missing(part, shown) {
            return Ok(Why::Needs { parts });
        }
        let named = !self.facts.runs[shown.run].answer.failing.is_empty();
        let aside: Set = self.aside.keys().copied().collect();
        let perhaps_needs = if named { Set::default() } else { self.sight.sees(part).and(&aside) };
        Ok(Why::Culprit { perhaps_needs })
    }

    /// The parts aside without which this one fails, and with which it was seen to hold.
    fn missing(&self, part: usize, shown: NotGreen) -> Option<Set> {
        let set = self.green.with(&Set::one(part));
        let mut all = Set::default();
        for module in self.facts.troubled_in(&self.sight, shown.run, &set) {
            all = all.with(&self.facts.missing(&self.sight, module, &set, part)?);
        }
        (!all.is_empty()).then_some(all)
    }

    /// With which of the green parts one does not hold that holds alone.
    fn partner(&mut self, part: usize, shown: NotGreen) -> Result<Set, Stop> {
        let one = Set::one(part);
        let set = self.green.with(&one);
        let seen = self.facts.troubled_in(&self.sight, shown.run, &set);
        let seen = seen.map(|module| self.sight.seen_by(module)).filter(|seen| seen.contains(part));
        let seen = seen.min_by_key(|seen| seen.and(&set).len());
        let mut with = seen.unwrap_or(self.sight.beside(part)).and(&self.green);
        while with.len() > 1 {
            let later = later_half(&with);
            let earlier = with.without(&later);
            let red = |shown: Option<NotGreen>| shown.is_some_and(|shown| shown.colour == Colour::Red);
            if red(self.try_set(&earlier.with(&one))?) {
                with = earlier;
            } else if red(self.try_set(&later.with(&one))?) {
                with = later;
            } else {
                // It takes some of both.
                break;
            }
        }
        Ok(with)
    }

    fn outcome(self, over_bound: bool) -> Outcome {
        let whole = self.facts.exactly(self.sight.all());
        let rest = self.sight.all().without(&self.green);
        let aside = rest.iter().map(|part| {
            let shown = self.aside.get(&part);
            let why = self.why.get(&part).cloned().unwrap_or_else(|| self.why_at_the_bound(part));
            let set = self.green.with(&Set::one(part));
            let modules = match (shown, whole) {
                (Some(shown), _) => self.facts.troubled_in(&self.sight, shown.run, &set).cloned().collect(),
                // What was never tried by itself is as unknown as the whole.
                (None, Some(whole)) => {
                    let about = |module: &&_| self.sight.seen_by(module).contains(part);
                    self.facts.runs[whole].troubled().filter(about).cloned().collect()
                }
                (None, None) => BTreeSet::new(),
            };
            Aside { part, why, run: shown.map(|shown| shown.run).or(whole), modules }
        });
        let aside = aside.collect();
        let runs = self.facts.runs.iter().map(|run| run.set.clone()).collect();
        let Self { green, shown_by, needs, .. } = self;
        Outcome { green, shown_by, aside, needs, runs, over_bound }
    }

    /// Why a part is aside that the search had no time to look into.
    fn why_at_the_bound(&self, part: usize) -> Why {
        match self.facts.not_green(&self.sight, &Set::one(part)) {
            Some(NotGreen { colour: Colour::Red, .. }) => Why::Culprit { perhaps_needs: Set::default() },
            _ => Why::NotFoundOut,
        }
    }
}

/// The later half of a set; of one part, that one.
fn later_half(set: &Set) -> Set {
    set.iter().skip(set.len() / 2).collect()
}
