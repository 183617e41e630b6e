//! Log lines: to standard error, one event a line, with nothing in them that could steer a terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use ft_protocol::display::Escaped;
use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// Target of the lines that are logged whatever level is asked for: who ran which command.
pub(crate) const AUDIT: &str = "audit";

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed and needs somebody.
    Error,
    /// What was refused or went wrong by itself.
    Warn,
    /// Logins and operations.
    #[default]
    Info,
    /// Steps of operations.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

/// Sends log lines of this process to standard error from now on. A second call changes nothing.
pub fn init(format: LogFormat, level: LogLevel) {
    // It fails only where somebody else, such as a test, decided already.
    let _ = tracing::subscriber::set_global_default(subscriber(format, level, io::stderr));
}

fn subscriber<W>(format: LogFormat, level: LogLevel, target: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = Targets::new().with_default(level).with_target(AUDIT, LevelFilter::INFO);
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    let builder = builder.with_target(false).with_writer(Safe { format, target });
    match format {
        LogFormat::Text => Box::new(builder.finish().with(wanted)),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish().with(wanted)),
    }
}

/// Makes every line safe on its way to `target`. The formatter escapes part of what is dangerous, but neither
/// line breaks nor writing directions, so the whole line passes through here.
struct Safe<W> {
    format: LogFormat,
    target: W,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Safe<W> {
    type Writer = SafeWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        SafeWriter { format: self.format, target: self.target.make_writer() }
    }
}

struct SafeWriter<W> {
    format: LogFormat,
    target: W,
}

/// The formatter writes each event with one call, its line end included.
impl<W: Write> Write for SafeWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let mut line = match self.format {
            LogFormat::Text => Escaped::new(text).to_string(),
            LogFormat::Json => escape_json(&String::from_utf8_lossy(text)),
        };
        line.push('\n');
        self.target.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// As [`Escaped`], in the escapes of JSON (RFC 8259 section 7). What is escaped can only stand in a string.
fn escape_json(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    let mut buffer = [0; 4];
    for c in text.chars() {
        let shown: &str = c.encode_utf8(&mut buffer);
        if c == ' ' || c.is_ascii_graphic() || Escaped::from(shown).to_string() == shown {
            line.push(c);
        } else {
            // Writing to a String cannot fail; all these characters lie in the basic plane.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel) -> String {
        let sink = Sink::default();
        let target = sink.clone();
        tracing::subscriber::with_default(subscriber(format, level, move || target.clone()), || {
            let hostile = "a\x1b[2J\u{9b}31m\nready listen=evil\r\u{202e}\u{2028}";
            tracing::info!(user = hostile, path = %hostile, debug = ?hostile, "login {hostile}");
            tracing::debug!("details");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn one_event_is_one_harmless_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, LogLevel::Info);
            let line = text.strip_suffix('\n').unwrap();
            assert_eq!(Escaped::from(line).to_string(), line, "{format:?}");
            assert!(line.contains("login") && line.contains("user"), "{line}");
        }
    }

    #[test]
    fn the_level_decides_what_is_logged() {
        assert_eq!(logged(LogFormat::Text, LogLevel::Debug).lines().count(), 2);
        assert_eq!(logged(LogFormat::Text, LogLevel::Info).lines().count(), 1);
        assert_eq!(logged(LogFormat::Text, LogLevel::Warn), "");
    }

    #[test]
    fn a_command_leaves_one_line_at_every_level() {
        use crate::exec::audit::{Line, shown};
        use crate::process::Ended;
        let hostile = b"sh\0-c\0id\n2026-01-01T00:00:00Z  INFO audit: command user=\"root\"\x1b[2J\xff\0";
        let request = ft_protocol::wire::message::Exec { argv: hostile.to_vec(), ..Default::default() };
        for format in [LogFormat::Text, LogFormat::Json] {
            for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Trace] {
                let sink = Sink::default();
                let target = sink.clone();
                tracing::subscriber::with_default(subscriber(format, level, move || target.clone()), || {
                    let line = Line {
                        user: "ops",
                        source: None,
                        argv: &shown(&request),
                        shell: false,
                        tty: true,
                        started: true,
                        ended: Some(Ended::Signalled(15)),
                        why: Some("the time limit\nwas reached"),
                        bytes_in: 1,
                        bytes_out: 2,
                        duration: std::time::Duration::from_millis(1500),
                    };
                    line.log();
                    tracing::info!("another");
                });
                let bytes = sink.0.lock().unwrap().clone();
                let text = String::from_utf8(bytes).unwrap();
                let lines: Vec<_> = text.lines().collect();
                assert_eq!(lines.len(), if level == LogLevel::Trace { 2 } else { 1 }, "{text}");
                assert_eq!(Escaped::from(lines[0]).to_string(), lines[0]);
                let fields = match format {
                    LogFormat::Text => ["user=\"ops\"", "signal=15", "milliseconds=1500", "source=\"stdio\""],
                    LogFormat::Json => {
                        ["\"user\":\"ops\"", "\"signal\":15", "\"milliseconds\":1500", "\"source\":\"stdio\""]
                    }
                };
                fields.iter().for_each(|field| assert!(lines[0].contains(field), "{field} in {text}"));
                assert!(!lines[0].contains("status"), "{text}");
            }
        }
    }

    #[test]
    fn json_stays_json() {
        let line = logged(LogFormat::Json, LogLevel::Info);
        assert!(line.starts_with('{') && line.ends_with("}\n"), "{line}");
        assert!(line.contains(r"\u009b31m") && line.contains(r"\u202e\u2028"), "{line}");
    }
}
