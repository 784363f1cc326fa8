//! The documents that a workspace is governed by, as values and as files that people edit.
//!
//! In: TOML or JSON that somebody wrote, and the document in force. Out: the next document in its one
//! canonical form. A person need not sort, number or chain anything, may leave comments behind keys,
//! and may write `delay_ms = "2d"` or a date for a moment. What is not understood is refused.

use serde_json::Value;

use super::compare;
use super::key::PublicKey;
use super::members::{MEMBERS_VERSION, Members, MembersError};
use super::transition::{self, TransitionError};
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::change::DocumentKind;
use crate::domain::id::Cid;
use crate::domain::moment::Moment;
use crate::domain::policy::{POLICY_VERSION, Policy, PolicyError};
use crate::domain::text;

/// Largest document that is looked at, in bytes.
pub const MAX_FILE: usize = 4 << 20;

/// A document that was read and holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Who decides.
    Members(Box<Members>),
    /// By which rules.
    Policy(Box<Policy>),
}

/// Why a text is no document that could be the next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is too large.
    #[error("it is larger than {MAX_FILE} bytes")]
    TooLarge,
    /// It is neither TOML nor JSON.
    #[error("{0}")]
    Form(String),
    /// A value that its key does not take.
    #[error("{key}: {} is {what}", text::quoted(&text::clipped(value, 60)))]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is no members document.
    #[error("{0}")]
    Members(#[from] MembersError),
    /// It is no policy.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// It was made from a document that is not in force any more, or cannot follow it.
    #[error("{0}")]
    Transition(#[from] TransitionError),
    /// It changes nothing.
    #[error("it is the one in force")]
    Nothing,
    /// It has no canonical form.
    #[error("{0}")]
    Canonical(#[from] CanonicalError),
}

impl Document {
    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> DocumentKind {
        match self {
            Self::Members(_) => DocumentKind::Members,
            Self::Policy(_) => DocumentKind::Policy,
        }
    }

    /// The document in these canonical bytes.
    ///
    /// # Errors
    /// With the reason why it is none.
    pub fn from_canonical(kind: DocumentKind, bytes: &[u8]) -> Result<Self, DocumentError> {
        Ok(match kind {
            DocumentKind::Members => Self::Members(Box::new(Members::from_canonical(bytes)?)),
            DocumentKind::Policy => Self::Policy(Box::new(Policy::from_canonical(bytes)?)),
        })
    }

    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        match self {
            Self::Members(members) => members.to_canonical(),
            Self::Policy(policy) => policy.to_canonical(),
        }
    }

    /// As JSON.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_value(&self) -> Result<Value, CanonicalError> {
        canonical::parse(&self.to_canonical()?)
    }

    /// What it changes on another one of its kind, each a sentence.
    ///
    /// # Errors
    /// When a text in one has no canonical form.
    pub fn changes_on(&self, old: &Self) -> Result<Vec<String>, CanonicalError> {
        Ok(compare::changes(&old.to_value()?, &self.to_value()?))
    }

    /// Whether it may take the place of the one in force, whose identity is given.
    ///
    /// # Errors
    /// With the reason why not.
    pub fn follows(&self, old: &Self, in_force: Cid) -> Result<(), DocumentError> {
        match (old, self) {
            (Self::Members(old), Self::Members(new)) => Ok(transition::follows(old, in_force, new)?),
            (Self::Policy(old), Self::Policy(new)) if old == new => Err(DocumentError::Nothing),
            (Self::Policy(_), Self::Policy(_)) => Ok(()),
            _ => Err(DocumentError::Form("it is another kind of document".to_owned())),
        }
    }

    /// The file that people edit: TOML.
    ///
    /// # Errors
    /// When it cannot be written so.
    pub fn to_toml(&self) -> Result<String, DocumentError> {
        let mut value = self.to_value()?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("v");
            fields.remove("previous");
        }
        toml::to_string_pretty(&value).map_err(|error| DocumentError::Form(error.to_string()))
    }
}

/// The members document that this file asks for, to follow the one in force.
///
/// # Errors
/// With the reason why there is none.
pub fn next_members(written: &str, in_force: &Members) -> Result<Members, DocumentError> {
    let cid = in_force.cid()?;
    let mut value = read(written)?;
    keep_fitting(&mut value, "v", MEMBERS_VERSION.into(), |v| matches!(v, 1..=2));
    let next = in_force.epoch.saturating_add(1);
    if let Some(found) = value.get("epoch").and_then(Value::as_u64)
        && found != in_force.epoch
        && found != next
    {
        return Err(TransitionError::Epoch { found, next }.into());
    }
    keep_fitting(&mut value, "epoch", next.into(), |_| true);
    if let Some(fields) = value.as_object_mut() {
        // One that was shown may name its own predecessor; one made elsewhere names the one in force.
        let previous = fields.get("previous").and_then(Value::as_str).map(str::to_owned);
        let known = [in_force.previous, Some(cid)].map(|cid| cid.map(|cid| cid.to_string()));
        if previous.is_none() || known.contains(&previous) {
            fields.insert("previous".to_owned(), cid.to_string().into());
        }
        fields.entry("workspace").or_insert_with(|| in_force.workspace.clone().into());
    }
    normalise(&mut value)?;
    let mut members: Members =
        serde_json::from_value(value).map_err(|error| MembersError::Shape(error.to_string()))?;
    sort(&mut members);
    members.check()?;
    transition::follows(in_force, cid, &members)?;
    Ok(members)
}

/// The policy that this file asks for.
///
/// # Errors
/// With the reason why there is none.
pub fn policy(written: &str) -> Result<Policy, DocumentError> {
    let mut value = read(written)?;
    keep_fitting(&mut value, "v", POLICY_VERSION.into(), |v| v <= u64::from(POLICY_VERSION));
    // As a person writes it: what is left out of a rule has its default, and lists need not be sorted.
    let policy = Policy::from_value(value)?;
    // Its one form is what is signed, and it is read back as the same.
    Ok(Policy::from_canonical(&policy.to_canonical()?)?)
}

/// Set what numbers a document, unless something stands there that must be refused later.
fn keep_fitting(value: &mut Value, key: &str, is: Value, fits: impl Fn(u64) -> bool) {
    if let Some(fields) = value.as_object_mut()
        && fields.get(key).is_none_or(|found| found.as_u64().is_some_and(fits))
    {
        fields.insert(key.to_owned(), is);
    }
}

/// JSON where it begins like that, else TOML.
fn read(written: &str) -> Result<Value, DocumentError> {
    if written.len() > MAX_FILE {
        return Err(DocumentError::TooLarge);
    }
    if written.trim_start().starts_with('{') {
        return Ok(canonical::parse(written.as_bytes())?);
    }
    let table: toml::Table =
        written.parse().map_err(|error: toml::de::Error| DocumentError::Form(error.to_string()))?;
    plain("", toml::Value::Table(table))
}

/// TOML as JSON: moments and lengths of time as milliseconds where the key says `_ms`.
fn plain(key: &str, value: toml::Value) -> Result<Value, DocumentError> {
    let wrong = |value: String, what| DocumentError::Value { key: key.to_owned(), value, what };
    Ok(match value {
        toml::Value::String(said) if key.ends_with("_ms") => milliseconds(&said)
            .ok_or_else(|| wrong(said, "no length of time such as 90s, 12h or 30d, and no UTC time"))?
            .into(),
        toml::Value::Datetime(time) if key.ends_with("_ms") => {
            let shown = time.to_string();
            let moment: Moment =
                shown.parse().map_err(|_| wrong(shown, "no UTC time such as 2027-01-01T00:00:00Z"))?;
            moment.as_ms().into()
        }
        toml::Value::Datetime(time) => return Err(wrong(time.to_string(), "a time, and none is asked for")),
        toml::Value::Float(float) => return Err(wrong(float.to_string(), "no whole number")),
        toml::Value::String(said) => said.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Array(list) => {
            list.into_iter().map(|one| plain(key, one)).collect::<Result<Vec<_>, _>>()?.into()
        }
        toml::Value::Table(table) => {
            let fields = table.into_iter().map(|(key, value)| {
                let value = plain(&key, value)?;
                Ok((key, value))
            });
            Value::Object(fields.collect::<Result<_, DocumentError>>()?)
        }
    })
}

/// `90s`, `15m`, `12h`, `30d`, or a UTC time.
fn milliseconds(said: &str) -> Option<i64> {
    if let Ok(moment) = said.parse::<Moment>() {
        return Some(moment.as_ms());
    }
    let (number, unit) = said.split_at_checked(said.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    let number = number.parse::<u32>().ok()?;
    i64::from(number).checked_mul(unit_ms)
}

/// Keys in their one form, whatever comment stands behind them.
fn normalise(value: &mut Value) -> Result<(), DocumentError> {
    let principals = value.get_mut("principals").and_then(Value::as_array_mut);
    for principal in principals.into_iter().flatten() {
        let name = principal.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let keys = principal.get_mut("keys").and_then(Value::as_array_mut);
        for key in keys.into_iter().flatten() {
            let Some(line) = key.as_str() else { continue };
            let parsed: PublicKey = line
                .parse()
                .map_err(|error| DocumentError::Form(format!("a key of {}: {error}", text::quoted(&name))))?;
            *key = parsed.line().into();
        }
    }
    Ok(())
}

fn sort(members: &mut Members) {
    members.principals.sort_by(|a, b| a.name.cmp(&b.name));
    for principal in &mut members.principals {
        principal.keys.sort();
        principal.roles.sort();
    }
    for rule in members.tracks.values_mut() {
        rule.roles.sort();
        if let Some(veto) = &mut rule.veto {
            veto.roles.sort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{key, members};
    use super::*;
    use crate::domain::proposal::Track;

    fn written(members: &Members) -> String {
        Document::Members(Box::new(members.clone())).to_toml().unwrap()
    }

    #[test]
    fn what_is_shown_and_edited_is_the_next_document() {
        let in_force = members(2);
        let file = written(&in_force);
        assert_eq!(next_members(&file, &in_force), Err(TransitionError::Nothing.into()));
        let edited = file.replace("heal = false", "heal = true");
        let next = next_members(&edited, &in_force).unwrap();
        let cid = in_force.cid().unwrap();
        let wanted = Members { heal: true, v: 2, epoch: 2, previous: Some(cid), ..in_force.clone() };
        assert_eq!(next, wanted);
        // And so on, from the next one, in either form; the canonical JSON of it is itself.
        let json = String::from_utf8(next.to_canonical().unwrap()).unwrap();
        assert_eq!(next_members(&json, &in_force).unwrap(), next);
        let third = next_members(&json.replace("\"heal\":true", "\"heal\":false"), &next).unwrap();
        assert_eq!((third.epoch, third.previous), (3, Some(next.cid().unwrap())));
        // A file that was begun before somebody else's change came in is not taken for an edit of it.
        let error = next_members(&edited, &third).unwrap_err();
        assert_eq!(error, TransitionError::Epoch { found: 1, next: 4 }.into());
    }

    #[test]
    fn a_person_need_not_sort_or_count_milliseconds() {
        let in_force = members(1);
        let file = format!(
            "heal = false\nexpires_ms = 2027-01-01T00:00:00Z\n\
             [[principals]]\nname = \"z\"\nroles = [\"b\", \"a\"]\nkeys = [\"{} my laptop\"]\n\
             [[principals]]\nname = \"a\"\nkeys = [\"{}\", \"{}\"]\n\
             [tracks.membership]\nthreshold = 2\ndelay_ms = \"2d\"\nexpiry_ms = \"12h\"\n",
            key(9).line(),
            key(101).line(),
            key(1).line(),
        );
        let next = next_members(&file, &in_force).unwrap();
        let names: Vec<&str> = next.principals.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "z"]);
        assert_eq!(next.principals[1].roles, ["a", "b"]);
        let rule = &next.tracks[&Track::Membership];
        assert_eq!((rule.delay_ms, rule.expiry_ms), (172_800_000, 43_200_000));
        assert_eq!(next.expires_ms, Some(1_798_761_600_000));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let in_force = members(1);
        let file = written(&in_force).replace("heal = false", "heal = true");
        for (from, to, says) in [
            ("heal = true", "heal = true\nheel = true", "unknown field `heel`"),
            ("heal = true", "heal = 1.5", "no whole number"),
            ("heal = true", "heal = 2027-01-01", "none is asked for"),
            ("heal = true", "heal = true\nexpires_ms = \"soon\"", "no length of time"),
            ("heal = true", "heal = true\nexpires_ms = 2027-01-01T00:00:00+01:00", "no UTC time"),
            ("heal = true", "heal = true\nv = 9", "version 9"),
            ("heal = true", "heal = true\nprevious = \"x\"", ""),
            ("heal = true", "heal = true\nworkspace = \"x\"", ""),
            ("epoch = 1", "epoch = 7", "its epoch is 7"),
            ("threshold = 1", "threshold = 2", "threshold 2"),
            ("name = \"a\"", "name = \"a b\"", "is not a name"),
            ("ssh-ed25519 AAAA", "ssh-ed25519 AAA", "a key of \"a\""),
            ("heal = true", "heal = [", ""),
        ] {
            assert!(file.contains(from), "{from}: {file}");
            let error = next_members(&file.replacen(from, to, 1), &in_force).expect_err(to);
            assert!(error.to_string().contains(says), "{to}: {error}");
        }
        assert_eq!(next_members(&"#".repeat(MAX_FILE + 1), &in_force), Err(DocumentError::TooLarge));
    }

    #[test]
    fn a_policy_is_read_in_either_form() {
        let shown = Document::Policy(Box::default()).to_toml().unwrap();
        assert_eq!(policy(&shown), Ok(Policy::default()));
        let json = String::from_utf8(Policy::default().to_canonical().unwrap()).unwrap();
        assert_eq!(policy(&json), Ok(Policy::default()));
        let with_a_rule = policy(&format!("{shown}\n[rules.minimum-age]\nhours = 24\n")).unwrap();
        assert_eq!(with_a_rule.rules.minimum_age.as_ref().map(|rule| rule.hours), Some(24));
        let sources = "[rules.allowed-sources]\norganisations = [\"github.com/b\", \"github.com/a\"]\n";
        assert!(policy(&format!("{shown}\n{sources}")).is_ok());
        let wrong = policy(&shown.replace("proposal_days", "proposal_dys")).unwrap_err();
        assert!(wrong.to_string().contains("proposal_d"), "{wrong}");
    }
}
