//! `drift`: how far a pin may move at once, and how far it may lag behind.

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;
use crate::domain::upgrade::Relation;

/// The settings of `drift`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    /// How grave it is.
    pub severity: Severity,
    /// Most commits that one move brings or takes back; 0 is no limit.
    pub max_commits: u32,
    /// Most commits that the result may be behind its upstream; 0 is no limit.
    pub max_behind: u32,
    /// Whether a checkout must be at what the superproject records; looked at in the workspace as it
    /// is, before anything moves.
    pub checkout: bool,
}

impl Default for Drift {
    fn default() -> Self {
        Self { severity: Severity::Review, max_commits: 0, max_behind: 0, checkout: false }
    }
}

impl Rule for Drift {
    const ID: &'static str = "drift";
    const ASKS: Asks = Asks::World;
    const ABOUT: &'static str = "\
How far a submodule may drift: how many commits one move of a pin may bring (or take back), and how many \
commits of its upstream the result may lack. A move that is too large to be read is put to people in \
smaller parts; a module that lags too far behind misses what upstream mended.

With `checkout`, `policy check` also says which checkouts are elsewhere than the superproject records. \
0 is no limit. What cannot be counted is said, at the rule's severity.";
    const EXAMPLE: &'static str = "\
[rules.drift]
severity = \"review\"
max_commits = 500
max_behind = 1000
checkout = true
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.max_commits == 0 && self.max_behind == 0 && !self.checkout {
            return Err("it limits nothing: set max_commits, max_behind or checkout".to_owned());
        }
        Ok(())
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        for module in facts.judged() {
            let name = &module.name;
            if let Some(moved) = module.moved.as_ref().filter(|it| it.from != it.to && self.max_commits > 0) {
                let most = self.max_commits;
                match &moved.relation {
                    Ok(Relation::Counted { behind, ahead }) if *behind.max(ahead) > most => {
                        let many = behind.max(ahead);
                        let said = format!("it would move by {many} commits, and {most} are allowed at once");
                        found.module(name, said, Some("read it in smaller parts, or raise max_commits"));
                    }
                    Ok(Relation::Counted { .. }) => {}
                    Ok(Relation::Missing(commit)) => {
                        let said =
                            format!("by how far it moves cannot be told: {} is not at hand", commit.short());
                        found.module(name, said, None);
                    }
                    Err(why) => {
                        found.module(name, format!("by how far it moves cannot be told: {why}"), None);
                    }
                }
            }
            let Some(upstream) = &module.upstream else { continue };
            if let Some(behind) =
                upstream.behind.filter(|behind| self.max_behind > 0 && *behind > self.max_behind)
            {
                let said = format!(
                    "it is {behind} commits behind its upstream, and {} are allowed",
                    self.max_behind
                );
                found.module(name, said, None);
            }
            if let (true, Some(at), Some(recorded)) = (self.checkout, upstream.checkout, module.revision)
                && at != recorded
                && module.moved.is_none()
            {
                let said = format!("its checkout is at {}, and {} is recorded", at.short(), recorded.short());
                found.module(name, said, Some("git submodule update brings it there"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, id, module, rule, upgrade};
    use super::*;
    use crate::domain::policy::facts::{ModuleFacts, Moved, UpstreamFacts};

    #[test]
    fn what_is_over_a_limit_is_said_and_what_is_at_it_is_not() {
        let it: Drift = rule("max_commits = 5\nmax_behind = 7\ncheckout = true");
        let moved = |relation| {
            let moved = Some(Moved { from: id(1), to: id(2), relation });
            upgrade(vec![ModuleFacts { moved, ..module("m") }])
        };
        for (relation, says) in [
            (Ok(Relation::Counted { behind: 5, ahead: 0 }), ""),
            (Ok(Relation::Counted { behind: 6, ahead: 0 }), "move by 6 commits, and 5 are"),
            (Ok(Relation::Counted { behind: 0, ahead: 6 }), "move by 6 commits"),
            (Ok(Relation::Missing(id(1))), "cannot be told"),
            (Err("no mirror".to_owned()), "no mirror"),
        ] {
            check(&it, &moved(relation), says);
        }
        for (behind, checkout, moves, says) in [
            (Some(7), None, false, ""),
            (Some(8), None, false, "8 commits behind its upstream, and 7"),
            (Some(8), None, true, "8 commits behind"),
            (None, Some(id(3)), false, "its checkout is at 0303"),
            (None, Some(id(3)), true, ""),
            (None, Some(id(2)), false, ""),
        ] {
            let upstream = Some(UpstreamFacts { behind, rewritten_to: None, checkout });
            let mut one = ModuleFacts { upstream, ..module("m") };
            one.moved = one.moved.filter(|_| moves);
            check(&it, &upgrade(vec![one]), says);
        }
        assert!(Drift::default().check().is_err());
    }
}
