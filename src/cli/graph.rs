//! `graph`: the modules' dependencies, components and levels; or one module explained.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use super::open::Open;
use super::outdated::unknown_module;
use super::show::{self, Paint};
use super::{Exit, Failure, Global};
use crate::domain::graph::{Edge, EdgeSource, Graph, Sighting};
use crate::domain::id::ModuleName;
use crate::domain::text;
use crate::ops::order;
use crate::ports::SnapshotOptions;

mod formats;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Explain this module: what it needs, what needs it, which revisions of it are seen by whom
    #[arg(value_name = "MODULE")]
    module: Option<String>,
    /// How to print the graph
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
}

/// How to print the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Levels, leaves first.
    Text,
    /// One object, as with --json.
    Json,
    /// The language of Graphviz.
    Dot,
    /// The language of Mermaid.
    Mermaid,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let options = SnapshotOptions { hash_untracked_bytes: None, ..open.cycle_options().snapshot };
    let seen = order::see(&open.repository, &open.sources, &options)?;
    let graph = order::order(&seen.discovery, &seen.wiring);
    let json = global.json || args.format == Format::Json;
    if let Some(wanted) = &args.module {
        let known: Vec<&str> = graph.modules.iter().map(ModuleName::as_str).collect();
        if !known.contains(&wanted.as_str()) {
            return Err(unknown_module(wanted, &known));
        }
        if !json && args.format != Format::Text {
            return Err(Failure::new(Exit::Usage, "one module is explained as text or as JSON")
                .hint("leave out the module, or use --format text"));
        }
        let name = ModuleName::new(wanted);
        return if json {
            show::json(&Explained::of(&graph, &name))
        } else {
            show::data(&explain(&graph, &name, Paint::stdout(global)))
        };
    }
    if json {
        return show::json(&Report::of(&graph));
    }
    show::data(&match args.format {
        Format::Dot => formats::dot(&graph),
        Format::Mermaid => formats::mermaid(&graph),
        Format::Text | Format::Json => levels(&graph, Paint::stdout(global)),
    })
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    components: Vec<&'a [ModuleName]>,
    levels: Vec<Vec<ModuleName>>,
    edges: Vec<EdgeRow<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct EdgeRow<'a> {
    from: &'a ModuleName,
    to: &'a ModuleName,
    /// The strongest witness.
    source: &'static str,
    sources: Vec<&'static str>,
    via: &'a [String],
}

impl<'a> Report<'a> {
    fn of(graph: &'a Graph) -> Self {
        Self {
            schema: "lambda-os/graph/v1",
            components: graph.components.iter().map(|component| component.members.as_slice()).collect(),
            levels: graph.levels(),
            edges: graph.edges.iter().map(edge_row).collect(),
            notes: &graph.notes,
        }
    }
}

fn edge_row(edge: &Edge) -> EdgeRow<'_> {
    let sources: Vec<&str> = edge.sources.iter().map(|source| source.as_str()).collect();
    EdgeRow {
        from: &edge.from,
        to: &edge.to,
        source: sources.first().copied().unwrap_or_default(),
        sources,
        via: &edge.via,
    }
}

/// What `--json` prints for one module.
#[derive(Serialize)]
struct Explained<'a> {
    schema: &'static str,
    module: &'a ModuleName,
    level: u32,
    component: &'a [ModuleName],
    dependencies: Vec<EdgeRow<'a>>,
    dependents: Vec<EdgeRow<'a>>,
    blast_radius: Vec<ModuleName>,
    seen: Vec<&'a Sighting>,
}

impl<'a> Explained<'a> {
    fn of(graph: &'a Graph, module: &'a ModuleName) -> Self {
        let component = graph.component_of(module);
        Self {
            schema: "lambda-os/graph/v1",
            module,
            level: component.map_or(0, |component| component.level),
            component: component.map_or(&[], |component| &component.members),
            dependencies: graph.dependencies(module).map(edge_row).collect(),
            dependents: graph.dependents(module).map(edge_row).collect(),
            blast_radius: graph.blast_radius(std::slice::from_ref(module)),
            seen: graph.seen(module),
        }
    }
}

fn names(names: &[ModuleName]) -> String {
    names.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(" ")
}

/// The levels as text, leaves first; components of several modules in braces.
fn levels(graph: &Graph, paint: Paint) -> String {
    let cycles = graph.components.iter().filter(|component| component.members.len() > 1).count();
    let mut shown = format!(
        "{} modules, {} edges, {} levels, {cycles} cyclic components\n",
        graph.modules.len(),
        graph.edges.len(),
        graph.levels().len()
    );
    let mut level = None;
    for component in &graph.components {
        if level != Some(component.level) {
            level = Some(component.level);
            let _ = writeln!(shown, "\n{}", paint.bold(&format!("level {}", component.level)));
        }
        match component.members.as_slice() {
            [one] => {
                let _ = writeln!(shown, "  {one}");
            }
            members => {
                let _ = writeln!(shown, "  {{ {} }}  {}", names(members), paint.warn("need each other"));
            }
        }
    }
    notes(&mut shown, &graph.notes);
    shown
}

fn notes(shown: &mut String, notes: &[String]) {
    for (at, note) in notes.iter().enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        let _ = writeln!(shown, "{gap}note: {note}");
    }
}

/// One module as text.
fn explain(graph: &Graph, module: &ModuleName, paint: Paint) -> String {
    let mut shown = String::new();
    if let Some(component) = graph.component_of(module) {
        let _ = writeln!(shown, "{} is on level {}", paint.bold(module.as_str()), component.level);
        if component.members.len() > 1 {
            let _ = writeln!(
                shown,
                "component: {{ {} }} need each other and move together",
                names(&component.members)
            );
        }
    }
    let mut section = |title: &str, rows: Vec<Vec<String>>| {
        if rows.is_empty() {
            let _ = writeln!(shown, "\n{title}: none");
            return;
        }
        let _ = writeln!(shown, "\n{title}:");
        for line in show::table(&rows).lines() {
            let _ = writeln!(shown, "  {line}");
        }
    };
    let row = |other: &ModuleName, edge: &Edge| {
        let sources: Vec<&str> = edge.sources.iter().map(|source| EdgeSource::as_str(*source)).collect();
        let via = if edge.via.is_empty() { String::new() } else { format!("via {}", edge.via.join("/")) };
        vec![other.to_string(), sources.join(", "), via]
    };
    section("needs", graph.dependencies(module).map(|edge| row(&edge.to, edge)).collect());
    section("is needed by", graph.dependents(module).map(|edge| row(&edge.from, edge)).collect());
    let radius = graph.blast_radius(std::slice::from_ref(module));
    let _ = writeln!(shown, "\nblast radius: {} of {} modules", radius.len(), graph.modules.len());
    if !radius.is_empty() {
        let _ = writeln!(shown, "  {}", names(&radius));
    }
    let seen = graph.seen(module);
    if let [only] = seen.as_slice() {
        let _ = writeln!(shown, "\none revision in the lock: {}", revision(only));
    } else if seen.len() > 1 {
        let _ = writeln!(shown, "\n{}", paint.warn(&format!("{} revisions in the lock:", seen.len())));
        for sighting in seen {
            for by in &sighting.seen_by {
                let who = by.module.as_ref().map_or("the workspace", ModuleName::as_str);
                let who = if by.module.is_none() && by.path.len() > 1 { "a helper" } else { who };
                let _ = writeln!(
                    shown,
                    "  {}  {module} as seen by {who}  ({})",
                    revision(sighting),
                    by.path.join("/")
                );
            }
        }
    }
    shown
}

fn revision(sighting: &Sighting) -> String {
    sighting
        .revision
        .as_deref()
        .map_or_else(|| "(none)".to_owned(), |rev| text::clipped(rev, 13).trim_end_matches('…').to_owned())
}

#[cfg(test)]
mod tests;
