//! Seeded mutations of flake.nix, flake.lock, references, URLs, `.gitmodules` and the dependency
//! map: every reader answers, without a panic, in bounded time, and what it accepts is stable.
//!
//! This stands in for coverage-guided fuzzing, which needs a nightly compiler: the same seeds give
//! the same inputs everywhere. `LAMBDA_OS_CASES` sets how many a reader gets (a night: 10000000).
#![expect(clippy::disallowed_methods, reason = "the environment says how many cases to try")]

use std::time::Duration;

use lambda_os::domain::discover::{DiscoverInput, discover};
use lambda_os::domain::flake::dep_graph::DepGraph;
use lambda_os::domain::flake::edit::{set_revision, update_dep_graph};
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::nix_reader;
use lambda_os::domain::flake::reference::FlakeRef;
use lambda_os::domain::url::{RemoteUrl, UrlRules};
use rustix::time::{ClockId, clock_gettime};

const REV: &str = "0123456789abcdef0123456789abcdef01234567";
const NEW: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// What one input of at most 64 KB may take of a processor, in a debug build: on a busy machine a
/// clock on the wall says nothing.
const LIMIT: Duration = Duration::from_secs(20);

struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).expect("it is below")
    }
}

/// Change, cut, repeat, splice and nest, a few times.
fn mutated(pick: &mut Choices, seeds: &[&[u8]], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = seeds[pick.below(seeds.len())].to_vec();
    for _ in 0..=pick.below(6) {
        let at = pick.below(bytes.len() + 1);
        let end = (at + pick.below(24)).min(bytes.len());
        match pick.below(9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part.repeat(1 + pick.below(200)));
            }
            3 => {
                let other = seeds[pick.below(seeds.len())];
                let from = pick.below(other.len());
                bytes.splice(at..end, other[from..].iter().copied());
            }
            4 if at < bytes.len() => bytes[at] = u8::try_from(pick.below(256)).expect("a byte"),
            5 => {
                let word = words[pick.below(words.len())];
                bytes.splice(at..at, word.repeat(1 + pick.below(3_000)));
            }
            _ => {
                let word = words[pick.below(words.len())];
                bytes.splice(at..end, word.iter().copied());
            }
        }
        bytes.truncate(64 << 10);
    }
    bytes
}

fn fuzz(seed: u64, seeds: &[&[u8]], words: &[&[u8]], mut check: impl FnMut(&[u8])) {
    let cases = std::env::var("LAMBDA_OS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_500);
    let mut pick = Choices(seed);
    for _ in 0..cases {
        let bytes = mutated(&mut pick, seeds, words);
        let begun = processor_time();
        check(&bytes);
        let taken = processor_time().saturating_sub(begun);
        assert!(taken < LIMIT, "{taken:?} for {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(spent).expect("time spent is not negative")
}

const NIX_WORDS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"(",
    b")",
    b"[",
    b"]",
    b"\"",
    b"''",
    b"${",
    b";",
    b"=",
    b".",
    b"rec ",
    b"let ",
    b" in ",
    b"inherit ",
    b"a = ",
    b"inputs.",
    b"url = \"github:o/r\";",
    b"a: ",
    b"-",
    b"#",
    b"/*",
    b"\xff",
];

#[test]
fn flake_nix_is_read_or_refused() {
    let flake = format!(
        "{{ description = \"x\"; inputs = rec {{ a = {{ url = \"github:o/a/{REV}\"; inputs.b.follows = \"b\"; }}; b = a; }};\n\
         inputs.c.url = ./sub; inputs.d = {{ type = \"git\"; url = \"git@h:r\"; rev = \"{REV}\"; }};\n\
         outputs = {{ self, a, ... }}@i: let x = 1; in {{ y = a.b or 2; z = ''t${{x}}''; }}; }}\n"
    );
    let seeds: [&[u8]; 3] =
        [flake.as_bytes(), b"{ outputs = _: { }; }", b"{ inputs.${\"a\"}.url = x:y; outputs = { a }: a; }"];
    fuzz(0xf1a4e, &seeds, &NIX_WORDS, |bytes| {
        if let Ok(read) = nix_reader::read(bytes) {
            for name in read.inputs.keys() {
                if let Ok(edited) = set_revision(bytes, name, NEW) {
                    assert_eq!(edited.len(), bytes.len());
                    let again = nix_reader::read(&edited).expect("an edited flake is a flake");
                    let reference = again.inputs[name].reference.as_ref().expect("a reference");
                    assert_eq!(reference.rev(), Some(NEW));
                }
            }
        }
    });
}

#[test]
fn the_dependency_map_is_read_or_refused() {
    let seeds: [&[u8]; 2] = [
        b"# generated\n{\n  a = { deps = [ \"b\" ]; hasTests = true; follows = { \"x\" = \"a\"; }; };\n  b = { deps = []; };\n}\n",
        b"{ a = [ \"b\" ]; \"c d\" = [ ]; }",
    ];
    fuzz(0xde9, &seeds, &NIX_WORDS, |bytes| {
        if let Ok(mut map) = DepGraph::parse(bytes) {
            assert_eq!(update_dep_graph(bytes, &map).as_deref(), Ok(bytes));
            map.entries.insert("new".to_owned(), lambda_os::domain::flake::dep_graph::DepEntry::default());
            if let Ok(edited) = update_dep_graph(bytes, &map) {
                assert_eq!(DepGraph::parse(&edited), Ok(map));
            }
        }
    });
}

#[test]
fn flake_lock_is_read_or_refused() {
    let lock = format!(
        r#"{{"nodes":{{"a":{{"inputs":{{"b":["b"]}},"locked":{{"lastModified":1,"narHash":"sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo=","owner":"o","repo":"a","rev":"{REV}","type":"github"}},"original":{{"owner":"o","repo":"a","type":"github"}}}},"b":{{"flake":false,"locked":{{"path":"./x","type":"path"}},"original":{{"path":"./x","type":"path"}},"parent":[]}},"root":{{"inputs":{{"a":"a","b":"b"}}}}}},"root":"root","version":7}}"#
    );
    let words: [&[u8]; 16] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b":",
        b",",
        b"\"a\":",
        b"\"root\"",
        b"[\"a\",\"b\"]",
        b"null",
        b"-1",
        b"1e999",
        b"\\u0000",
        b"\xff",
        b"[[",
    ];
    fuzz(0x10c4, &[lock.as_bytes()], &words, |bytes| {
        if let Ok(read) = Lock::parse(bytes) {
            for (_, node) in read.nodes() {
                let _ = node.locked.as_ref().and_then(FlakeRef::identity);
            }
            // What is read is JSON, and is written as what reads and writes the same.
            let json = serde_json::from_slice::<serde_json::Value>(bytes);
            let is_json =
                json.as_ref().map_or_else(|error| error.to_string().contains("recursion"), |_| true);
            assert!(is_json, "{json:?}: {}", String::from_utf8_lossy(bytes));
            let written = read.to_json();
            let again = Lock::parse(written.as_bytes()).expect("what is written is a lock");
            assert_eq!(again.to_json(), written);
        }
    });
}

#[test]
fn references_and_urls_are_read_or_refused() {
    let reference = format!("github:o/r/{REV}?dir=x&host=h");
    let seeds: [&[u8]; 8] = [
        reference.as_bytes(),
        b"git+https://u:p@[::1]:8/a/b.git?ref=main&submodules=1",
        b"path:./a/../b?lastModified=1",
        b"nixpkgs/nixos-25.11",
        b"https://x.org/a.tar.gz?narHash=sha256-x",
        b"git@github.com:o/r.git",
        b"../r.git",
        b"ssh://h:22/~/r",
    ];
    let words: [&[u8]; 18] = [
        b":",
        b"/",
        b"//",
        b"@",
        b"?",
        b"#",
        b"%",
        b"%2F",
        b"%00",
        b"&",
        b"=",
        b"[",
        b"]",
        b"..",
        b"-",
        b" ",
        b"\n",
        "é".as_bytes(),
    ];
    fuzz(0x0451, &seeds, &words, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        for is_flake in [true, false] {
            if let Ok(reference) = FlakeRef::parse_as(text, is_flake) {
                // What the attributes say is itself a reference that Nix takes, and the same one.
                let stated = FlakeRef::from_stated(reference.attrs().clone());
                assert_eq!(stated.as_ref(), Ok(&reference), "{text}");
                let _ = reference.identity();
            }
        }
        let _ = RemoteUrl::parse(text, UrlRules::with_local(true)).map(|url| url.identity());
    });
}

#[test]
fn gitmodules_are_read_or_refused() {
    let seeds: [&[u8]; 2] = [
        b"[submodule \"a\"]\n\tpath = repos/a\n\turl = git@github.com:o/a.git\n\tbranch = main\n[submodule \"b\"]\n\tpath = repos/b\n\turl = ../b.git\n",
        b"[submodule \"x\"]\n\tpath = x\n\turl = https://x.org/x\n\tupdate = !touch canary\n",
    ];
    let words: [&[u8]; 16] = [
        b"[",
        b"]",
        b"\"",
        b"=",
        b"\n",
        b"\\",
        b"../",
        b".git",
        b"-u",
        b"ext::sh",
        b"[submodule \"",
        b"path = ",
        b"url = ",
        b"\0",
        b"\xff",
        b"#",
    ];
    fuzz(0x6175, &seeds, &words, |bytes| {
        let input = DiscoverInput { gitmodules: Some(bytes.to_vec()), ..DiscoverInput::default() };
        let found = discover(&input);
        assert_eq!(format!("{found:?}"), format!("{:?}", discover(&input)));
    });
}
