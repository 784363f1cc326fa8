//! A journal and everything it names in one file, for people elsewhere.
//!
//! The form, version 1, is lines of text: a header, the journal's lines exactly as they are, then
//! every object that they name. Anybody can check it: the second line's SHA-256 is in the third's
//! `prev`, and each object's is in its `cid`.
//!
//! ```text
//! {"entries":2,"format":"lambda-os/audit-export","head":{"cid":"bafkrei…","seq":1},"log":"…","v":1}
//! {"body":…,"seq":0,…}
//! {"body":…,"seq":1,…}
//! {"base64":"…","cid":"bafkrei…"}
//! ```

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::super::durable::{self, Disk as _, RealDisk};
use super::lines::{Lines, Next};
use super::reader::{Audit, JournalReader};
use super::{integrity, shown};
use crate::domain::audit::chain::{Head, Verifier};
use crate::domain::audit::entry::{EntryError, MAX_LINE, Record};
use crate::domain::canonical::to_canonical;
use crate::domain::id::Cid;
use crate::ports::{FailureKind, PortError, PortResult};

const FORMAT: &str = "lambda-os/audit-export";

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Number of entries.
    pub entries: u64,
    /// Always `lambda-os/audit-export`.
    pub format: String,
    /// The newest entry.
    pub head: Option<Head>,
    /// Which journal.
    pub log: String,
    /// Version of the form, 1.
    pub v: u32,
}

#[derive(Serialize, Deserialize)]
struct Object {
    base64: String,
    cid: Cid,
}

/// Write the verified journal to `out`, or to standard output when there is none. Nothing is left
/// under the name when it fails. Gives what was written and how many objects.
///
/// # Errors
/// Integrity when the journal or an object is not right; an object that is missing is named.
pub fn export(
    reader: &JournalReader,
    out: Option<&Path>,
    stdout: &mut dyn Write,
) -> PortResult<(Bundle, u64)> {
    let audit = reader.verify(&[])?;
    let verified = audit.outcome.map_err(|found| reader.refusal(&found))?;
    let bundle = Bundle {
        entries: verified.entries,
        format: FORMAT.to_owned(),
        head: verified.head,
        log: verified.log,
        v: 1,
    };
    let Some(out) = out else {
        let failed = |error| PortError::failed("cannot write the export to standard output").because(error);
        let mut stdout = BufWriter::new(stdout);
        let objects = write(reader, &bundle, &mut stdout, failed)?;
        stdout.flush().map_err(failed)?;
        return Ok((bundle, objects));
    };
    let failed = |error| durable::port_error(format!("cannot write the export {}", shown(out)), error);
    if out.exists() {
        return Err(PortError::failed(format!("cannot write the export {}: it exists", shown(out)))
            .kind(FailureKind::Usage)
            .hint("name a new file"));
    }
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temp = out.with_file_name(name);
    let written = (|| {
        let file = RealDisk.open(&temp, durable::Open::New).map_err(failed)?;
        let mut sink = BufWriter::new(&*file);
        let objects = write(reader, &bundle, &mut sink, failed)?;
        sink.flush().map_err(failed)?;
        drop(sink);
        RealDisk.sync_data(&file).map_err(failed)?;
        RealDisk.rename(&temp, out).map_err(failed)?;
        Ok(objects)
    })();
    if written.is_err() {
        let _ = RealDisk.remove(&temp);
    }
    written.map(|objects| (bundle, objects))
}

fn write(
    reader: &JournalReader,
    bundle: &Bundle,
    sink: &mut dyn Write,
    failed: impl Fn(io::Error) -> PortError,
) -> PortResult<u64> {
    let mut put = |line: &[u8]| sink.write_all(line).and_then(|()| sink.write_all(b"\n")).map_err(&failed);
    put(&to_canonical(bundle).expect("because the header is canonical"))?;
    let mut named = BTreeSet::new();
    if let Some(file) = &reader.file {
        let mut lines = Lines::from(file, 0).map_err(|error| reader.failed(error))?;
        let mut line = Vec::new();
        for _ in 0..bundle.entries {
            if lines.read(&mut line).map_err(|error| reader.failed(error))? != Next::Line {
                return Err(integrity(format!(
                    "cannot trust the journal {}: it became shorter",
                    shown(&reader.path)
                )));
            }
            put(&line)?;
            named.extend(objects_of(&line));
        }
    }
    let mut written = 0;
    for cid in named {
        let bytes = reader.load(&cid)?.ok_or_else(|| {
            integrity(format!(
                "cannot export the journal {}: the object {cid} that it names is missing",
                shown(&reader.path)
            ))
        })?;
        let object = Object { base64: BASE64.encode(&bytes), cid };
        put(&to_canonical(&object).expect("because two texts are canonical"))?;
        written += 1;
    }
    Ok(written)
}

/// The objects that an entry names. Those of a type that a newer program added are not known.
fn objects_of(line: &[u8]) -> Vec<Cid> {
    let event = Record::parse(line).ok().and_then(|record| record.event().ok().flatten());
    event.map(|event| event.objects().into_iter().map(|(_, cid)| cid).collect()).unwrap_or_default()
}

/// Verify an export without any state: its chain, its header, that every object that is named is
/// there and is what its identity says.
///
/// # Errors
/// When it cannot be read or is not an export; Integrity for what is wrong with its objects or header.
pub fn verify_bundle(path: &Path, known: &[(Head, String)]) -> PortResult<Audit> {
    let failed = |error| durable::port_error(format!("cannot read the export {}", shown(path)), error);
    let wrong = |what: String| integrity(format!("cannot trust the export {}: {what}", shown(path)));
    let mut reader = BufReader::new(std::fs::File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    let bound = MAX_LINE as u64 + 1;
    (&mut reader).take(bound).read_until(b'\n', &mut line).map_err(failed)?;
    let header: Bundle = serde_json::from_slice(&line)
        .ok()
        .filter(|header: &Bundle| header.format == FORMAT && header.v == 1)
        .ok_or_else(|| {
            PortError::failed(format!("cannot verify {}: it is not an export of version 1", shown(path)))
                .kind(FailureKind::Usage)
        })?;
    let mut verifier = Verifier::new();
    if let Some(head) = header.head {
        verifier.anchor(head, "the export's header");
    }
    for (head, who) in known {
        verifier.anchor(*head, who.clone());
    }
    let mut named = BTreeSet::new();
    for _ in 0..header.entries {
        line.clear();
        let length = (&mut reader).take(bound).read_until(b'\n', &mut line).map_err(failed)?;
        if line.pop() != Some(b'\n') {
            if length > 0 {
                verifier.push_damage(EntryError::Shape("the line is cut".to_owned()));
            }
            break;
        }
        verifier.push(&line);
        named.extend(objects_of(&line));
        if verifier.is_settled() {
            break;
        }
    }
    let outcome = verifier.finish();
    if let Ok(verified) = &outcome {
        if verified.entries != header.entries || verified.log != header.log {
            return Err(wrong("its header does not fit its entries".to_owned()));
        }
        for line in reader.split(b'\n') {
            let line = line.map_err(failed)?;
            let object: Object =
                serde_json::from_slice(&line).map_err(|_| wrong("a line is not an object".to_owned()))?;
            let bytes = BASE64
                .decode(object.base64.as_bytes())
                .map_err(|_| wrong(format!("the object {} is not base64", object.cid)))?;
            if Cid::of(&bytes) != object.cid {
                return Err(wrong(format!("the object {} is not what its name says", object.cid)));
            }
            named.remove(&object.cid);
        }
        if let Some(missing) = named.first() {
            return Err(wrong(format!("the object {missing} that it names is missing")));
        }
    }
    Ok(Audit { outcome, torn: 0 })
}
