//! Servers that misbehave, on a loopback address: slow, silent, refusing, too large. Each is
//! bounded, said, and left alone for a while; the other modules get their answers.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::id::{ModuleName, ObjectId, RepoPath};
use lambda_os::domain::module::{FetchFrom, FetchSource, Module};
use lambda_os::domain::url::{RemoteUrl, UrlRules};
use lambda_os::ports::{Clock, DetectOptions, Sources, UpstreamAnswer};
use support::{git, temp_dir};

/// What a server does with every request.
#[derive(Clone)]
enum Manner {
    /// Serves the files of a bare repository (git's dumb protocol).
    Files(PathBuf),
    /// As `Files`, and any pack never ends.
    EndlessPack(PathBuf),
    /// One byte in a while.
    Trickle,
    /// Takes the connection and says nothing.
    Hang,
    /// This status line.
    Status(&'static str),
    /// So many refs.
    Refs(usize),
}

struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (manner, count) = (manner.clone(), Arc::clone(&count));
                // Whoever asked may have been killed meanwhile.
                thread::spawn(move || serve(stream, &manner, &count).ok());
            }
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/r.git", self.port)
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, count: &AtomicUsize) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut request)?;
    count.fetch_add(1, Ordering::SeqCst);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/");
    let file = path.trim_start_matches("/r.git/");
    match manner {
        Manner::EndlessPack(_) if Path::new(file).extension().is_some_and(|kind| kind == "pack") => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\nPACK",
            )?;
            loop {
                stream.write_all(&[7; 8 << 10])?;
            }
        }
        Manner::Files(root) | Manner::EndlessPack(root) => match fs::read(root.join(file)) {
            Ok(bytes) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                )?;
                stream.write_all(&bytes)
            }
            Err(_) => {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
        },
        Manner::Trickle => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
            loop {
                stream.write_all(b"a")?;
                thread::park_timeout(Duration::from_millis(200));
            }
        }
        Manner::Hang => {
            let mut rest = String::new();
            reader.read_line(&mut rest).map(|_| ())
        }
        Manner::Status(status) => {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Manner::Refs(refs) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")?;
            let mut out = std::io::BufWriter::new(stream);
            for at in 0..*refs {
                writeln!(out, "{:040x}\trefs/heads/b{at}", at + 1)?;
            }
            out.flush()
        }
    }
}

struct StoppedClock(Arc<AtomicI64>);

impl Clock for StoppedClock {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
    fn mono_ms(&self) -> u64 {
        0
    }
    fn mono_us(&self) -> u64 {
        0
    }
    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

fn module(name: &str, url: &str) -> Module {
    let rules = UrlRules { local: true, loopback_http: true, strip_password: false };
    let url = RemoteUrl::parse(url, rules).expect("a valid location");
    Module {
        name: ModuleName::new(name),
        submodule: name.to_owned(),
        path: RepoPath::from(name),
        identity: url.identity(),
        declared: url.clone(),
        fetch: FetchFrom { url, source: FetchSource::Gitmodules },
        branch: Some("main".to_owned()),
        input: None,
    }
}

fn options() -> DetectOptions {
    DetectOptions {
        offline: false,
        probe_timeout: Duration::from_secs(2),
        fetch_timeout: Duration::from_secs(30),
        parallel: 8,
        parallel_per_host: 8,
        max_mirror_bytes: 4 << 20,
        max_refs: 1000,
        allow_local_urls: true,
    }
}

fn mirrors(root: &Path, clock: &Arc<AtomicI64>) -> Mirrors {
    Mirrors::open(&root.join("mirrors"), &root.join("work"), &root.join("work/.git"))
        .with_clock(Box::new(StoppedClock(Arc::clone(clock))))
        .with_home(root)
        .allow_insecure_loopback()
}

/// A bare repository with one commit, ready for the dumb protocol, and its tip.
fn bare(root: &Path) -> (PathBuf, ObjectId) {
    let work = root.join("origin");
    fs::create_dir(&work).expect("made");
    git(&work, ["init", "-q", "-b", "main"]);
    git(&work, ["commit", "-q", "--allow-empty", "-m", "c"]);
    let tip = git(&work, ["rev-parse", "HEAD"]).trim().parse().expect("an id");
    git(&work, ["gc", "-q"]);
    git(&work, ["update-server-info"]);
    (work.join(".git"), tip)
}

#[test]
fn a_server_that_behaves_is_mirrored() {
    let temp = temp_dir();
    let clock = Arc::new(AtomicI64::new(1_790_000_000_000));
    let (repository, tip) = bare(temp.path());
    let server = Server::start(Manner::Files(repository));
    let module = module("m", &server.url());
    let found = mirrors(temp.path(), &clock).refresh(&[&module], &options());
    assert_eq!(found[0].answer, UpstreamAnswer::Tip { branch: "main".to_owned(), tip, fresh: true });
}

#[test]
fn loopback_http_is_not_allowed_unless_asked_for() {
    let temp = temp_dir();
    let server = Server::start(Manner::Hang);
    let module = module("m", &server.url());
    let mirrors =
        Mirrors::open(&temp.path().join("mirrors"), temp.path(), temp.path()).with_home(temp.path());
    let found = mirrors.refresh(&[&module], &options());
    assert!(matches!(&found[0].answer, UpstreamAnswer::NotAllowed(why) if why.contains("http")), "{found:?}");
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn servers_that_trickle_hang_or_refuse_cost_the_others_nothing() {
    let temp = temp_dir();
    let clock = Arc::new(AtomicI64::new(1_790_000_000_000));
    let (repository, tip) = bare(temp.path());
    let servers = [
        Server::start(Manner::Files(repository)),
        Server::start(Manner::Trickle),
        Server::start(Manner::Hang),
        Server::start(Manner::Status("503 Service Unavailable")),
        Server::start(Manner::Status("404 Not Found")),
    ];
    let modules: Vec<Module> =
        servers.iter().enumerate().map(|(at, server)| module(&format!("m{at}"), &server.url())).collect();
    let all: Vec<&Module> = modules.iter().collect();
    let mirrors = mirrors(temp.path(), &clock);
    let begun = Instant::now();
    let found = mirrors.refresh(&all, &options());
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert_eq!(found[0].answer, UpstreamAnswer::Tip { branch: "main".to_owned(), tip, fresh: true });
    for (at, reason) in
        [(1, "did not finish within 2 s"), (2, "did not finish within 2 s"), (3, "503"), (4, "not found")]
    {
        match &found[at].answer {
            UpstreamAnswer::Unreachable(why) => assert!(why.contains(reason), "{at}: {why}"),
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn after_a_failure_a_server_is_left_alone_for_a_while_that_grows() {
    let temp = temp_dir();
    let start = 1_790_000_000_000;
    let clock = Arc::new(AtomicI64::new(start));
    let server = Server::start(Manner::Status("429 Too Many Requests"));
    let module = module("m", &server.url());
    let mirrors = mirrors(temp.path(), &clock);
    let ask = || match mirrors.refresh(&[&module], &options()).remove(0).answer {
        UpstreamAnswer::Unreachable(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(ask().contains("429"));
    let asked = server.asked.load(Ordering::SeqCst);
    let waiting = ask();
    assert!(waiting.contains("429") && waiting.contains("next attempt in"), "{waiting}");
    assert_eq!(server.asked.load(Ordering::SeqCst), asked, "it was asked within the pause");
    // The first pause is at most 45 s, the second at least 30 s.
    clock.store(start + 46_000, Ordering::SeqCst);
    ask();
    let asked_again = server.asked.load(Ordering::SeqCst);
    assert!(asked_again > asked);
    clock.store(start + 46_000 + 29_000, Ordering::SeqCst);
    ask();
    assert_eq!(server.asked.load(Ordering::SeqCst), asked_again);
    // A clock that jumped back a year silences nobody.
    clock.store(start - 31_536_000_000, Ordering::SeqCst);
    ask();
    assert!(server.asked.load(Ordering::SeqCst) > asked_again);
}

#[test]
fn a_silent_upstream_is_called_stale_after_its_time() {
    let temp = temp_dir();
    let start = 1_790_000_000_000;
    let clock = Arc::new(AtomicI64::new(start));
    let (repository, _) = bare(temp.path());
    let server = Server::start(Manner::Files(repository.clone()));
    let module = module("m", &server.url());
    let mirrors = mirrors(temp.path(), &clock).stale_after(Duration::from_hours(1));
    mirrors.refresh(&[&module], &options());
    fs::remove_dir_all(&repository).expect("removed");
    let ask = |after: i64| {
        clock.store(start + after * 1000, Ordering::SeqCst);
        match mirrors.refresh(&[&module], &options()).remove(0).answer {
            UpstreamAnswer::Unreachable(why) => why,
            other => panic!("{other:?}"),
        }
    };
    let soon = ask(60);
    assert!(soon.contains("last answered 60 s ago") && !soon.contains("stale"), "{soon}");
    let late = ask(90_000);
    assert!(late.contains("stale: last answered 25 h ago"), "{late}");
}

#[test]
fn one_host_that_asks_to_wait_is_not_asked_for_every_module() {
    let temp = temp_dir();
    let clock = Arc::new(AtomicI64::new(1_790_000_000_000));
    let server = Server::start(Manner::Status("429 Too Many Requests"));
    let modules: Vec<Module> = (0..20)
        .map(|at| module(&format!("m{at}"), &format!("http://127.0.0.1:{}/r.git/{at}", server.port)))
        .collect();
    let all: Vec<&Module> = modules.iter().collect();
    let found =
        mirrors(temp.path(), &clock).refresh(&all, &DetectOptions { parallel_per_host: 1, ..options() });
    assert!(found.iter().all(|found| matches!(found.answer, UpstreamAnswer::Unreachable(_))));
    assert!(server.asked.load(Ordering::SeqCst) < 6, "{}", server.asked.load(Ordering::SeqCst));
}

#[test]
fn a_million_refs_and_an_endless_pack_are_bounded_and_put_in_quarantine() {
    let temp = temp_dir();
    let clock = Arc::new(AtomicI64::new(1_790_000_000_000));
    let (repository, _) = bare(temp.path());
    let modules = [
        module("refs", &Server::start(Manner::Refs(1_000_000)).url()),
        module("pack", &Server::start(Manner::EndlessPack(repository)).url()),
    ];
    let all: Vec<&Module> = modules.iter().collect();
    let generous = DetectOptions { probe_timeout: Duration::from_mins(1), ..options() };
    let found = mirrors(temp.path(), &clock).refresh(&all, &generous);
    for (found, reason) in found.iter().zip(["more than 1000 refs", "larger than 4 MiB"]) {
        match &found.answer {
            UpstreamAnswer::Unknown(why) => {
                assert!(why.contains("quarantine") && why.contains(reason), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut bytes = 0;
    let mut open = vec![temp.path().join("mirrors")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("listed").flatten() {
            let found = entry.metadata().expect("seen");
            if found.is_dir() { open.push(entry.path()) } else { bytes += found.len() }
        }
    }
    assert!(bytes < 4 << 20, "{bytes} bytes stay on disk");
}
