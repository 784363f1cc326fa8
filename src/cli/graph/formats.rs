//! The graph for other programs: Graphviz and Mermaid. Names come from outside and are escaped
//! for each language.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::domain::graph::Graph;
use crate::domain::id::ModuleName;

/// Graphviz: components of several modules are clusters, edges through helpers are dashed.
pub(super) fn dot(graph: &Graph) -> String {
    let mut shown = String::from("digraph modules {\n  rankdir = \"BT\";\n  node [shape = \"box\"];\n");
    for (number, component) in graph.components.iter().enumerate() {
        if let [only] = component.members.as_slice() {
            let _ = writeln!(shown, "  {};", dot_text(only));
            continue;
        }
        let _ = writeln!(shown, "  subgraph \"cluster_{number}\" {{");
        for member in &component.members {
            let _ = writeln!(shown, "    {};", dot_text(member));
        }
        shown.push_str("  }\n");
    }
    for edge in &graph.edges {
        let style = if edge.via.is_empty() { "" } else { " [style = \"dashed\"]" };
        let _ = writeln!(shown, "  {} -> {}{style};", dot_text(&edge.from), dot_text(&edge.to));
    }
    shown.push_str("}\n");
    shown
}

/// A quoted identifier. The label is escaped too: Graphviz reads `\N` and `\l` in it.
fn dot_text(name: &ModuleName) -> String {
    format!("\"{}\"", name.as_str().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Mermaid: nodes have numbers as identifiers and the name as their quoted text.
pub(super) fn mermaid(graph: &Graph) -> String {
    let number: BTreeMap<&ModuleName, usize> = graph.modules.iter().zip(0..).collect();
    let mut shown = String::from("flowchart BT\n");
    for (at, component) in graph.components.iter().enumerate() {
        let several = component.members.len() > 1;
        if several {
            let _ = writeln!(shown, "  subgraph c{at}[\" \"]");
        }
        for member in &component.members {
            let id = number.get(member).copied().unwrap_or_default();
            let _ =
                writeln!(shown, "  {}m{id}[\"{}\"]", if several { "  " } else { "" }, mermaid_text(member));
        }
        if several {
            shown.push_str("  end\n");
        }
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (number.get(&edge.from), number.get(&edge.to)) {
            let _ = writeln!(shown, "  m{from} {} m{to}", if edge.via.is_empty() { "-->" } else { "-.->" });
        }
    }
    shown
}

/// Everything that is not plainly part of a name becomes an entity code, so that neither Mermaid
/// nor the HTML that it makes sees markup.
fn mermaid_text(name: &ModuleName) -> String {
    let mut shown = String::new();
    for c in name.as_str().chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/') {
            shown.push(c);
        } else {
            let _ = write!(shown, "#{};", u32::from(c));
        }
    }
    shown
}
