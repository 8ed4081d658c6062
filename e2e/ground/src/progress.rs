//! Tells what is being done and how long each phase took.
//! Must not decide anything.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The phases of one command, for the table at its end.
pub struct Progress {
    begun: Instant,
    done: Mutex<Vec<(String, Duration, String)>>,
}

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self {
            begun: Instant::now(),
            done: Mutex::new(Vec::new()),
        }
    }

    /// Runs a phase; its line says how long it took, and the note that it gives.
    pub fn phase<T>(&self, name: &str, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let begun = Instant::now();
        self.say(&format!("{name} …"));
        match work() {
            Ok((value, note)) => {
                let took = begun.elapsed();
                self.say(&format!(
                    "{name}: {:.1} s{}",
                    took.as_secs_f64(),
                    in_brackets(&note)
                ));
                if let Ok(mut done) = self.done.lock() {
                    done.push((name.to_owned(), took, note));
                }
                Ok(value)
            }
            Err(error) => {
                self.say(&format!(
                    "{name}: FAILED after {:.1} s",
                    begun.elapsed().as_secs_f64()
                ));
                Err(error)
            }
        }
    }

    /// A line with the time since the start.
    pub fn say(&self, line: &str) {
        eprintln!("[{:6.1} s] {line}", self.begun.elapsed().as_secs_f64());
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// All phases with their times, the longest first.
    pub fn table(&self) -> String {
        let mut rows = self.done.lock().map(|done| done.clone()).unwrap_or_default();
        rows.sort_by_key(|(_, took, _)| std::cmp::Reverse(*took));
        let mut text = String::new();
        for (name, took, note) in rows {
            text.push_str(&format!(
                "{:>8.1} s  {name}{}\n",
                took.as_secs_f64(),
                in_brackets(&note)
            ));
        }
        text.push_str(&format!("{:>8.1} s  in all", self.begun.elapsed().as_secs_f64()));
        text
    }
}

fn in_brackets(note: &str) -> String {
    if note.is_empty() {
        String::new()
    } else {
        format!(" ({note})")
    }
}
