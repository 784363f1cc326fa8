//! What voting, withdrawing and printing a ballot have in common: the proposals that are meant,
//! each derived again from the local repository before anybody signs.

use std::fmt::Write as _;

use super::show::gather_of;
use super::{page, resolve};
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::adapters::lock::CycleLock;
use crate::cli::open::Open;
use crate::cli::show::{self, Paint};
use crate::cli::{Exit, Failure, Global};
use crate::domain::change::Delta;
use crate::domain::governance::ballot::{Ballot, Choice};
use crate::domain::governance::members::Members;
use crate::domain::governance::tally::Tally;
use crate::domain::history::HistoryLimits;
use crate::domain::id::{ObjectId, ProposalId};
use crate::domain::module::Discovery;
use crate::domain::proposal::Stage;
use crate::domain::text;
use crate::ops::amend;
use crate::ops::combine::{self, Joined};
use crate::ops::exchange::Place;
use crate::ops::govern::{self, Case, Rules, Word};
use crate::ops::{order, propose};
use crate::ports::{Clock as _, PortResult, Repository as _, SnapshotOptions, Sources as _};

/// The proposals that a verb is about, with what deciding needs.
pub(super) struct Desk {
    pub(super) open: Open,
    pub(super) rules: Rules,
    pub(super) cases: Vec<Case>,
    /// The superproject's HEAD.
    pub(super) head: ObjectId,
    discovery: Discovery,
}

impl Desk {
    /// Take in what was dropped into the inbox, then find the open proposals that are meant; each
    /// one once, however often it was named.
    pub(super) fn new(global: &Global, wanted: &[String]) -> Result<Self, Failure> {
        let open = Open::new(global)?;
        // An inbox needs a journal, and a journal is made by init or a cycle.
        if open.state_dir.inbox().is_dir() {
            import(&open, &mut JournalWriter::open(&open.state_dir, &open.clock)?)?;
        }
        let journal = JournalReader::open(&open.state_dir)?;
        let state = journal.state();
        amend::succession::check(&journal, state)?;
        let rules = govern::rules(&journal, state)?;
        let mut cases: Vec<Case> = Vec::new();
        for wanted in wanted {
            let id = resolve::resolve(wanted, &state.proposals)?;
            if cases.iter().all(|case| case.id != id) {
                cases.push(govern::case(&journal, state, id)?);
            }
        }
        for case in &cases {
            if case.record.stage != Stage::Open {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the proposal {} is not open any more", case.id.short()),
                )
                .hint(format!("lambda-os proposal show {}", case.id.short())));
            }
        }
        let head = open.repository.head()?.ok_or_else(|| {
            Failure::new(Exit::Failed, "cannot derive a change: the superproject has no commit")
        })?;
        let discovery = open.repository.discover()?;
        Ok(Self { open, rules, cases, head, discovery })
    }

    /// Those who may decide over what is on the desk: by the document in force, and by one to come.
    pub(super) fn electorates(&self) -> impl Iterator<Item = &Members> + Clone {
        let coming = self.cases.iter().filter_map(|case| case.successor.as_ref());
        std::iter::once(&self.rules.members).chain(coming)
    }

    /// Derive each change again from the local repository, on its HEAD: what is signed is what
    /// this repository says, not what the state directory does.
    pub(super) fn derive_again(&self) -> Result<(), Failure> {
        self.cases.iter().try_for_each(|case| self.derive_one_again(case))
    }

    fn derive_one_again(&self, case: &Case) -> Result<(), Failure> {
        let short = case.id.short();
        let delta = Delta { workspace: self.rules.members.workspace.clone(), ..case.delta.clone() };
        let derived = propose::derive_delta(
            &self.open.repository,
            &self.open.sources,
            &self.discovery.modules,
            &JournalReader::open(&self.open.state_dir)?,
            &delta,
            self.head,
        )?;
        let found = match derived {
            Ok(derived) if derived.change == case.proposal.change => return Ok(()),
            Ok(derived) => format!("here it is the change {}", derived.change),
            Err(why) => text::inert(&why.to_string()),
        };
        if self.head == case.record.base {
            return Err(Failure {
                exit: Exit::Integrity,
                message: format!("the proposal {short} is not what this repository derives on the same base"),
                causes: vec![found],
                hint: Some("nothing was signed; look with: lambda-os audit verify".to_owned()),
            });
        }
        Err(Failure {
            exit: Exit::Refused,
            message: format!("the proposal {short} is not the same change on the superproject's HEAD"),
            causes: vec![found],
            hint: Some("nothing was signed; lambda-os run --once proposes what it is now".to_owned()),
        })
    }

    /// What a person should have seen before signing: on stderr. Whoever approves sees everything.
    pub(super) fn show(&self, global: &Global, choice: Choice) -> Result<(), Failure> {
        if global.quiet {
            return Ok(());
        }
        let mut said = String::new();
        for case in &self.cases {
            let track = case.proposal.track.as_str();
            let _ = writeln!(said, "{} {} ({track} track): {}", choice.as_str(), case.id, case.title());
            said.push_str(&if choice == Choice::Approve {
                self.page(global, case)?
            } else {
                self.summary(case)
            });
        }
        show::say(said.trim_end());
        Ok(())
    }

    /// Everything that is known of it: pins, what upstream brings, what depends on it, evidence, findings.
    fn page(&self, global: &Global, case: &Case) -> Result<String, Failure> {
        let state = self.open.state()?;
        let (record, delta) = (case.record.clone(), case.delta.clone());
        let shown = gather_of(&self.open, &state, case.id, record, delta)?;
        Ok(page::what_it_is(&shown, Paint::stderr(global)))
    }

    /// What it does, in a few lines.
    fn summary(&self, case: &Case) -> String {
        let mut said = String::new();
        if let Some(document) = &case.delta.document {
            let _ = writeln!(said, "  {}: {} -> {}", document.kind.title(), document.old, document.new);
        }
        for pin in &case.pins {
            let commits = self.commits(pin);
            let (from, to) = (pin.from.short(), pin.to.short());
            let _ = writeln!(said, "  {} {from} -> {to} at {} ({commits})", pin.module, pin.path);
        }
        for file in &case.delta.files {
            let old = file.old.map_or_else(|| "nothing".to_owned(), |old| old.short());
            let _ = writeln!(said, "  {}: {old} -> {}", file.path, file.new.short());
        }
        for note in &case.record.notes {
            let _ = writeln!(said, "  note: {}", text::inert(note));
        }
        said
    }

    /// How many commits a pin brings, in words.
    fn commits(&self, pin: &crate::domain::plan::PinMove) -> String {
        if pin.from == pin.to {
            return "its gitlink stays".to_owned();
        }
        let module = self.discovery.modules.iter().find(|module| module.name == pin.module);
        let limits = HistoryLimits { commits: 0, files: 0 };
        match module.map(|module| self.open.sources.history(module, pin.from, pin.to, limits)) {
            Some(Ok(history)) => match history.total {
                1 => "1 commit".to_owned(),
                total => format!("{total} commits"),
            },
            _ => "its commits cannot be counted here".to_owned(),
        }
    }

    /// Join the proposals to one, which is then the only one on the desk. Nothing is written.
    pub(super) fn join(&mut self) -> Result<Joined, Failure> {
        let quick = SnapshotOptions { hash_untracked_bytes: None, ..self.open.settings.snapshot_options() };
        let seen = order::see(&self.open.repository, &self.open.sources, &quick)?;
        let graph = order::order(&seen.discovery, &seen.wiring);
        let place = Place {
            superproject: &self.open.repository,
            sources: &self.open.sources,
            modules: &self.discovery.modules,
            graph: &graph,
            head: self.head,
            now_ms: self.open.clock.wall_ms(),
        };
        let journal = JournalReader::open(&self.open.state_dir)?;
        let joined = combine::join(&journal, journal.state(), place, &self.cases)?;
        self.cases = vec![joined.case.clone()];
        Ok(joined)
    }

    /// The ballots that this voter would sign, by proposal.
    pub(super) fn drafts(
        &self,
        voter: &str,
        choice: Choice,
        reason: Option<&str>,
    ) -> Result<Vec<Ballot>, Failure> {
        let journal = JournalReader::open(&self.open.state_dir)?;
        let seq = govern::next_seq(&journal, journal.state(), voter)?;
        let draft = |case: &Case| {
            let word = Word { voter, choice, seq, reason, now_ms: self.open.clock.wall_ms() };
            let ballot = govern::draft(&self.rules, case, self.head, &word);
            ballot.check().map(|()| ballot).map_err(|error| {
                Failure::new(Exit::Usage, format!("cannot write a ballot on {}: {error}", case.id.short()))
            })
        };
        self.cases.iter().map(draft).collect()
    }

    /// What the ballots on a proposal add up to now.
    pub(super) fn tally(&self, id: ProposalId) -> Result<Tally, Failure> {
        let journal = JournalReader::open(&self.open.state_dir)?;
        let governor = self.open.governor();
        Ok(govern::decide(&journal, journal.state(), governor.as_ref(), id, &self.open.clock)?)
    }

    /// Close what is rejected, unless a cycle or a daemon runs, whose next cycle does it.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        let Ok(_lock) = CycleLock::acquire(&self.open.state_dir) else { return Ok(()) };
        let mut journal = JournalWriter::open(&self.open.state_dir, &self.open.clock)?;
        let state = journal.state().clone();
        govern::settle(&mut journal, &state, self.open.governor().as_ref(), &self.open.clock)?;
        Ok(())
    }
}

/// Take in what was dropped into the inbox; what was refused or left alone is said.
pub(in crate::cli) fn import(open: &Open, journal: &mut JournalWriter<'_>) -> PortResult<()> {
    let state = journal.state().clone();
    let imported = govern::import(journal, &state, &open.inbox(), open.clock.wall_ms())?;
    for (files, taken) in imported.taken {
        match taken {
            govern::Taken::Refused { reason, .. } => {
                tracing::warn!("the ballot {} was refused: {reason}", files.join(" + "));
            }
            govern::Taken::Waits { ballot, .. } => {
                let (files, short) = (files.join(" + "), ballot.proposal.short());
                tracing::info!("the ballot {files} waits: the proposal {short} is not known here");
            }
            govern::Taken::Cast { .. } | govern::Taken::Known { .. } => {
                tracing::info!("the ballot {} was taken in", files.join(" + "));
            }
        }
    }
    for said in imported.left_alone {
        tracing::warn!("{said}");
    }
    Ok(())
}
