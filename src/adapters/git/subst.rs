//! `export-subst`: what `git archive` writes for `$Format:…$`, where the commit alone says it.
//!
//! In: a file's bytes and its commit. Out: the bytes in an archive, or the name of the format
//! whose text depends on more than the commit: refs (`%d`), the object count (`%h`), git's
//! version, the mailmap. Source: `archive.c: format_subst`, `pretty.c: format_commit_one`.

use git2::Commit;

use super::archive::Undetermined;

/// The formats of one commit.
pub(super) struct Formats {
    commit: String,
    tree: String,
    parents: Vec<String>,
    author: Option<Person>,
    committer: Option<Person>,
    subject: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Person {
    name: Vec<u8>,
    email: Vec<u8>,
    seconds: i64,
    /// East of UTC, minutes.
    offset: i64,
    /// As written: `+0200`.
    zone: String,
}

impl Formats {
    pub(super) fn of(commit: &Commit<'_>) -> Self {
        let header = commit.raw_header_bytes();
        let field = |name: &[u8]| {
            header.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name)).map(<[u8]>::to_vec)
        };
        // Git converts text in another encoding to UTF-8 here: not done, so not derived.
        let plain = field(b"encoding ").is_none() && std::str::from_utf8(header).is_ok();
        let person = |name| field(name).filter(|_| plain).and_then(|line| person(&line));
        let message = commit.message_raw_bytes();
        Self {
            commit: commit.id().to_string(),
            tree: commit.tree_id().to_string(),
            parents: commit.parent_ids().map(|id| id.to_string()).collect(),
            author: person(b"author "),
            committer: person(b"committer "),
            subject: (plain && std::str::from_utf8(message).is_ok()).then(|| subject(message)),
        }
    }

    /// Replace every `$Format:…$`.
    pub(super) fn expand(&self, content: &[u8]) -> Result<Vec<u8>, Undetermined> {
        const MARK: &[u8] = b"$Format:";
        let mut out = Vec::with_capacity(content.len());
        let mut rest = content;
        while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
            let format = &rest[at + MARK.len()..];
            let Some(end) = format.iter().position(|byte| *byte == b'$') else { break };
            out.extend_from_slice(&rest[..at]);
            self.format(&format[..end], &mut out)?;
            rest = &format[end + 1..];
        }
        out.extend_from_slice(rest);
        Ok(out)
    }

    fn format(&self, format: &[u8], out: &mut Vec<u8>) -> Result<(), Undetermined> {
        let mut rest = format;
        while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
            out.extend_from_slice(&rest[..at]);
            let after = &rest[at + 1..];
            let taken = self.placeholder(after, out).ok_or_else(|| {
                let shown: String = String::from_utf8_lossy(after).chars().take(12).collect();
                Undetermined::new(format!("export-subst with the format %{shown}"))
            })?;
            rest = &after[taken..];
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    /// Write what stands for the placeholder at the start; how long its name is.
    fn placeholder(&self, name: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let text: Vec<u8> = match *name.first()? {
            b'%' => b"%".to_vec(),
            b'n' => b"\n".to_vec(),
            b'H' => self.commit.clone().into_bytes(),
            b'T' => self.tree.clone().into_bytes(),
            b'P' => self.parents.join(" ").into_bytes(),
            b's' => self.subject.clone()?,
            who @ (b'a' | b'c') => {
                let person = if who == b'a' { &self.author } else { &self.committer }.as_ref()?;
                out.extend(person.show(*name.get(1)?)?);
                return Some(2);
            }
            _ => return None,
        };
        out.extend(text);
        Some(1)
    }
}

/// `Name <email> seconds zone`, as git itself writes it; anything else is not derived.
fn person(line: &[u8]) -> Option<Person> {
    let open = line.iter().position(|byte| *byte == b'<')?;
    let close = open + line[open..].iter().position(|byte| *byte == b'>')?;
    let name = line[..open].strip_suffix(b" ")?;
    let email = &line[open + 1..close];
    let (seconds, zone) = std::str::from_utf8(line[close + 1..].strip_prefix(b" ")?).ok()?.split_once(' ')?;
    let trimmed = |text: &[u8]| text.trim_ascii() == text && !text.is_empty();
    let digits = zone.strip_prefix(['+', '-'])?;
    if !trimmed(name) || !trimmed(email) || digits.len() != 4 || !seconds.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let minutes = number / 100 * 60 + number % 100;
    let offset = if zone.starts_with('-') { -minutes } else { minutes };
    // Git treats far dates and odd zones in its own ways.
    let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds < 1 << 36)?;
    (seconds + offset * 60 >= 0 && minutes < 24 * 60).then(|| Person {
        name: name.to_vec(),
        email: email.to_vec(),
        seconds,
        offset,
        zone: zone.to_owned(),
    })
}

impl Person {
    fn show(&self, what: u8) -> Option<Vec<u8>> {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let local = self.seconds + self.offset * 60;
        let (days, clock) = (local / 86_400, local % 86_400);
        let (year, month, day) = date(days);
        let time = format!("{:02}:{:02}:{:02}", clock / 3600, clock / 60 % 60, clock % 60);
        let weekday = DAYS[usize::try_from(days % 7).ok()?];
        let name = MONTHS[usize::try_from(month - 1).ok()?];
        let zone = &self.zone;
        Some(match what {
            b'n' => self.name.clone(),
            b'e' => self.email.clone(),
            b't' => self.seconds.to_string().into_bytes(),
            b'd' => format!("{weekday} {name} {day} {time} {year} {zone}").into_bytes(),
            b'D' => format!("{weekday}, {day} {name} {year} {time} {zone}").into_bytes(),
            b'i' => format!("{year:04}-{month:02}-{day:02} {time} {zone}").into_bytes(),
            b's' => format!("{year:04}-{month:02}-{day:02}").into_bytes(),
            // %aI differs between versions of git where the zone is UTC.
            b'I' if self.offset != 0 => {
                let (hours, minutes) = zone.split_at_checked(3)?;
                format!("{year:04}-{month:02}-{day:02}T{time}{hours}:{minutes}").into_bytes()
            }
            _ => return None,
        })
    }
}

/// The Gregorian date of a day since 1970-01-01, for days from then on.
fn date(days: i64) -> (i64, i64, i64) {
    // Years that begin in March, in eras of 400 (the usual civil-from-days).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The first paragraph on one line (`format_subject`).
fn subject(message: &[u8]) -> Vec<u8> {
    let lines = message.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first: Vec<&[u8]> =
        lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    first.join(&b' ')
}
