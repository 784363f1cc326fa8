//! Talk on stderr: log lines, and a line of progress for what takes longer than half a second.
//!
//! stdout never sees any of it. Everything is shown inert, without colour, and nothing at all
//! appears with `--quiet` but warnings.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Global;
use crate::domain::text;

/// Begin to talk as the options say: warnings; with `-v` also what is done, with `-vv` how.
/// The first call counts; a later one changes nothing.
pub fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, 2) => Level::DEBUG,
        (false, _) => Level::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .event_format(Plain)
        .finish();
    // Fails only when somebody has set one already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// One line per event: `level: message key=value …`, inert.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        writeln!(writer, "{level}: {}{}", text::inert(&line.message), text::inert(&line.fields))
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// How long something may take before a line says that it goes on.
const PATIENCE: Duration = Duration::from_millis(500);

/// A line of progress, shown on a terminal once the work takes longer than half a second, and
/// wiped away when this value is dropped.
#[derive(Debug)]
pub struct Progress {
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begin work that is called this: "asking 55 remotes".
    #[must_use]
    pub fn begin(global: &Global, what: &str) -> Self {
        if global.quiet || !io::stderr().is_terminal() || is_dumb() {
            return Self { ticker: None };
        }
        let (done, wait) = mpsc::channel::<()>();
        let what = text::clipped(&text::inert(what), 60);
        let ticker = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            let begun = Instant::now();
            let mut shown = false;
            while wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown = true;
                let _ = write!(io::stderr(), "\r\u{1b}[K{what} … {} s", begun.elapsed().as_secs());
                let _ = io::stderr().flush();
            }
            if shown {
                let _ = write!(io::stderr(), "\r\u{1b}[K");
            }
        });
        // Without a thread there is no progress, which is no reason to fail.
        Self { ticker: ticker.ok().map(|thread| (done, thread)) }
    }
}

#[expect(clippy::disallowed_methods, reason = "what a terminal can do is said in the environment")]
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.ticker.take() {
            drop(done);
            // A ticker that panicked has nothing to say.
            let _ = thread.join();
        }
    }
}
