//! mysqld's error log: passed on to our standard output as it is, its errors remembered, and that a copy is held up.
//! Must not lose a line, judge it, or hold the agent up.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A longer line is passed on in pieces.
const LINE_LIMIT_BYTES: u64 = 16 << 10;
/// Of a line that is told to people.
const TOLD_LIMIT_BYTES: usize = 1_000;
const ERRORS_LIMIT: usize = 10;
/// What a donor says every five seconds or so while a commit that waits holds up the end of a copy.
const COPY_WAITS: &str = "Waiting for prepared transaction to exit";
const COPY_WAITS_PERIOD: Duration = Duration::from_secs(15);
/// Of the thread that passes lines on; it calls nothing deep.
const STACK_BYTES: usize = 128 << 10;

/// The errors of one run of mysqld.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorLog(Arc<Mutex<Errors>>);

#[derive(Debug, Default)]
struct Errors {
    first: Option<String>,
    last: VecDeque<String>,
    /// When it first and last said that a copy waits.
    copy_waits: Option<(Instant, Instant)>,
}

impl ErrorLog {
    /// Until the other end is closed by everybody.
    pub(crate) fn pass_on(&self, from: PipeReader) -> io::Result<()> {
        let log = self.clone();
        std::thread::Builder::new()
            .name("error-log".into())
            .stack_size(STACK_BYTES)
            .spawn(move || log.run(from))
            .map(|_| ())
    }

    fn run(&self, from: PipeReader) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut from).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            // Whoever reads our output may have gone; mysqld must not wait for them.
            let mut out = io::stdout().lock();
            let _ = out.write_all(&line).and_then(|()| out.flush());
            drop(out);
            self.add(&String::from_utf8_lossy(&line), Instant::now());
        }
    }

    fn add(&self, line: &str, now: Instant) {
        if line.contains(COPY_WAITS) {
            let waited = self.copy_waited(now).unwrap_or_default();
            let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            errors.copy_waits = Some((now - waited, now));
        }
        let Some(at) = line.find("[ERROR]") else {
            return;
        };
        let text = told(&line[at..]);
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.first.is_none() {
            errors.first = Some(text.clone());
        }
        if errors.last.len() == ERRORS_LIMIT {
            errors.last.pop_front();
        }
        errors.last.push_back(text);
    }

    /// For how long somebody's copy from this server has been held up by commits that wait.
    pub(crate) fn copy_waited(&self, now: Instant) -> Option<Duration> {
        let errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = errors.copy_waits?;
        let is_waiting = now.saturating_duration_since(last) < COPY_WAITS_PERIOD;
        is_waiting.then(|| now.saturating_duration_since(first))
    }

    /// Why it did not start: what follows the first error are its consequences.
    pub(crate) fn first(&self) -> Option<String> {
        let errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        errors.first.clone()
    }

    /// What it said last, of one that had been running.
    pub(crate) fn last(&self) -> Option<String> {
        let errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        errors.last.back().cloned()
    }
}

/// The first error in what mysqld printed.
pub(crate) fn first_error(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("[ERROR]"))?;
    line.find("[ERROR]").map(|at| told(&line[at..]))
}

/// A line of at most so many bytes.
pub(crate) fn told(text: &str) -> String {
    let line = text.trim().replace(['\n', '\r'], " ");
    line[..line.floor_char_boundary(TOLD_LIMIT_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(log: &ErrorLog, line: &str) {
        log.add(line, Instant::now());
    }

    #[test]
    fn errors_are_remembered_in_mysqlds_words() {
        let log = ErrorLog::default();
        add(
            &log,
            "2026-01-01T00:00:00Z 0 [System] [MY-015017] [Server] start.\n",
        );
        assert_eq!(log.first(), None);
        add(
            &log,
            "2026-01-01T00:00:00Z 0 [ERROR] [MY-000067] [Server] unknown variable 'a=1'.\n",
        );
        for _ in 0..20 {
            add(
                &log,
                "2026-01-01T00:00:00Z 0 [ERROR] [MY-010119] [Server] Aborting\n",
            );
        }
        assert_eq!(
            log.first().unwrap(),
            "[ERROR] [MY-000067] [Server] unknown variable 'a=1'."
        );
        assert_eq!(log.last().unwrap(), "[ERROR] [MY-010119] [Server] Aborting");
        assert_eq!(log.0.lock().unwrap().last.len(), ERRORS_LIMIT);
        assert!(told(&"ü".repeat(2_000)).len() <= TOLD_LIMIT_BYTES);
        assert_eq!(first_error("x\n0 [ERROR] a\n0 [ERROR] b").unwrap(), "[ERROR] a");
    }

    #[test]
    fn a_copy_waits_as_long_as_it_is_said_again() {
        let (log, begun) = (ErrorLog::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let line = "0 18 [Warning] [MY-011975] [InnoDB] Waiting for prepared transaction to exit\n";
        assert_eq!(log.copy_waited(at(0)), None);
        for seconds in [0, 5, 11, 16] {
            log.add(line, at(seconds));
        }
        assert_eq!(log.copy_waited(at(20)), Some(Duration::from_secs(20)));
        assert_eq!(log.copy_waited(at(40)), None, "it is over");
        log.add(line, at(60));
        assert_eq!(
            log.copy_waited(at(61)),
            Some(Duration::from_secs(1)),
            "another one"
        );
    }

    #[test]
    fn lines_without_an_end_are_passed_on() {
        let (reader, mut writer) = io::pipe().unwrap();
        let log = ErrorLog::default();
        writer.write_all(b"0 [ERROR] [MY-1] cut").unwrap();
        drop(writer);
        log.run(reader);
        assert_eq!(log.first().unwrap(), "[ERROR] [MY-1] cut");
    }
}
