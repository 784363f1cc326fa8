//! Every input of every node to the node that it comes to.
//!
//! Each input is resolved once and remembered, with an explicit stack: a lock whose `follows`
//! lead through each other a hundred thousand times, or double at every step, costs no more
//! than its length.

use super::{InputEdge, LockError, Node, NodeId};

/// An input while it is being resolved: where its path has led so far.
struct Walk {
    /// The input, as its number.
    input: usize,
    /// Elements of its path already taken.
    taken: usize,
    /// Where they led.
    at: NodeId,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Open,
    Underway,
    Done(Option<NodeId>),
}

/// Fill in every `target`; what is in a circle, or leads into one, comes to nothing.
///
/// # Errors
/// With the first circle of inputs that follow each other, when all are filled in.
pub(super) fn resolve_all(nodes: &mut [Node], root: NodeId) -> Result<(), LockError> {
    // Inputs are numbered node by node, in the order of their names.
    let mut first = Vec::with_capacity(nodes.len());
    let mut total = 0;
    for node in nodes.iter() {
        first.push(total);
        total += node.inputs.len();
    }
    let mut answers = vec![Answer::Open; total];
    let mut edges = Vec::with_capacity(total);
    for (number, node) in nodes.iter().enumerate() {
        for (name, input) in &node.inputs {
            if let InputEdge::Node(target) = &input.edge {
                answers[edges.len()] = Answer::Done(Some(*target));
            }
            edges.push((number, name.as_str(), &input.edge));
        }
    }
    // Neighbours mostly follow paths that begin alike: the steps of the last path, each with the
    // node that it is from and the input that it came to.
    let mut trail: Vec<(NodeId, &str, usize)> = Vec::new();
    let mut circle = None;
    for start in 0..total {
        if answers[start] != Answer::Open {
            continue;
        }
        answers[start] = Answer::Underway;
        let mut stack = vec![Walk { input: start, taken: 0, at: root }];
        while let Some(walk) = stack.last_mut() {
            let InputEdge::Follows(path) = edges[walk.input].2 else {
                stack.pop();
                continue;
            };
            let Some(name) = path.get(walk.taken) else {
                answers[walk.input] = Answer::Done(Some(walk.at));
                stack.pop();
                continue;
            };
            let next = match trail.get(walk.taken) {
                Some((from, known, next)) if *from == walk.at && *known == name.as_str() => Some(*next),
                _ => {
                    let at = walk.at.0 as usize;
                    let next = nodes[at].inputs.position(name).ok().map(|place| first[at] + place);
                    trail.truncate(walk.taken);
                    if let Some(next) = next.filter(|_| trail.len() == walk.taken) {
                        trail.push((walk.at, name, next));
                    }
                    next
                }
            };
            match next.map(|next| (next, answers[next])) {
                Some((_, Answer::Done(Some(target)))) => {
                    walk.at = target;
                    walk.taken += 1;
                }
                None | Some((_, Answer::Done(None))) => {
                    answers[walk.input] = Answer::Done(None);
                    stack.pop();
                }
                Some((next, Answer::Open)) => {
                    answers[next] = Answer::Underway;
                    stack.push(Walk { input: next, taken: 0, at: root });
                }
                Some((next, Answer::Underway)) => {
                    let label = |input: usize| format!("{}.{}", nodes[edges[input].0].key, edges[input].1);
                    if circle.is_none() {
                        let from = stack.iter().position(|walk| walk.input == next).unwrap_or(0);
                        let on_it = stack[from..].iter().map(|walk| walk.input).chain([next]);
                        circle = Some(LockError::FollowsCycle { cycle: on_it.map(label).collect() });
                    }
                    if let Some(walk) = stack.pop() {
                        answers[walk.input] = Answer::Done(None);
                    }
                }
            }
        }
    }
    drop(edges);
    let mut answers = answers.into_iter();
    for input in nodes.iter_mut().flat_map(|node| node.inputs.values_mut()) {
        if let Some(Answer::Done(target)) = answers.next() {
            input.target = target;
        }
    }
    circle.map_or(Ok(()), Err)
}
