//! mysqld's error log: passed on to our standard output as it is, and its errors remembered.
//! Must not lose a line, judge it, or hold the agent up.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A longer line is passed on in pieces.
const LINE_LIMIT_BYTES: u64 = 16 << 10;
/// Of a line that is told to people.
const TOLD_LIMIT_BYTES: usize = 1_000;
const ERRORS_LIMIT: usize = 10;
/// Of the thread that passes lines on; it calls nothing deep.
const STACK_BYTES: usize = 128 << 10;

/// The errors of one run of mysqld.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorLog(Arc<Mutex<Errors>>);

#[derive(Debug, Default)]
struct Errors {
    first: Option<String>,
    last: VecDeque<String>,
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
            self.add(&String::from_utf8_lossy(&line));
        }
    }

    fn add(&self, line: &str) {
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

    #[test]
    fn errors_are_remembered_in_mysqlds_words() {
        let log = ErrorLog::default();
        log.add("2026-01-01T00:00:00Z 0 [System] [MY-015017] [Server] start.\n");
        assert_eq!(log.first(), None);
        log.add("2026-01-01T00:00:00Z 0 [ERROR] [MY-000067] [Server] unknown variable 'a=1'.\n");
        for _ in 0..20 {
            log.add("2026-01-01T00:00:00Z 0 [ERROR] [MY-010119] [Server] Aborting\n");
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
    fn lines_without_an_end_are_passed_on() {
        let (reader, mut writer) = io::pipe().unwrap();
        let log = ErrorLog::default();
        writer.write_all(b"0 [ERROR] [MY-1] cut").unwrap();
        drop(writer);
        log.run(reader);
        assert_eq!(log.first().unwrap(), "[ERROR] [MY-1] cut");
    }
}
