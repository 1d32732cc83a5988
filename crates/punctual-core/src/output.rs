//! What a run prints, in bounded memory: the beginning and the end of it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much of the beginning is kept, and how much of the end.
pub const OUTPUT_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    forward: Option<Forward>,
}

type Forward = Box<dyn FnMut(&[u8]) + Send>;

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.head.len() + self.tail.len();
        write!(f, "Capture {{ kept: {kept}, dropped: {} }}", self.dropped)
    }
}

/// The output of one run: the first and the last 64 KiB; what lies between is counted. Cheap to clone; all clones are
/// one output.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<Capture>>);

impl Output {
    fn lock(&self) -> MutexGuard<'_, Capture> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends bytes.
    pub fn write(&self, bytes: &[u8]) {
        let mut capture = self.lock();
        if let Some(forward) = &mut capture.forward {
            forward(bytes);
        }
        let (head, rest) = bytes.split_at(bytes.len().min(OUTPUT_BYTES - capture.head.len()));
        capture.head.extend_from_slice(head);
        capture.tail.extend(rest);
        let excess = capture.tail.len().saturating_sub(OUTPUT_BYTES);
        capture.tail.drain(..excess);
        capture.dropped += excess as u64;
    }

    /// Appends a line.
    pub fn line(&self, text: &str) {
        // In one piece: several threads may log.
        self.write(format!("{text}\n").as_bytes());
    }

    /// From now on hands all that is written to `forward` too, in order, before [`write`](Self::write) returns: for a run
    /// that works in another process than the one that records it. `None` ends that; nothing is handed on after it returns.
    #[cfg_attr(not(unix), expect(dead_code, reason = "the process pool is for Unix"))]
    pub(crate) fn forward_to(&self, forward: Option<Forward>) {
        self.lock().forward = forward;
    }

    /// What was written, as text; `None` where nothing was. Bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> Option<String> {
        let capture = self.lock();
        if capture.head.is_empty() {
            return None;
        }
        let mut bytes = capture.head.clone();
        if capture.dropped > 0 {
            bytes.extend_from_slice(
                format!("\n[... {} bytes left out ...]\n", capture.dropped).as_bytes(),
            );
        }
        bytes.extend(&capture.tail);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_head_and_tail() {
        let output = Output::default();
        assert_eq!(output.text(), None);
        output.line("first");
        for _ in 0..300 {
            output.write(&[b'x'; 1000]);
        }
        output.line("last");
        let text = output.text().unwrap();
        assert!(
            text.starts_with("first\nxxx") && text.ends_with("xxlast\n"),
            "{}",
            text.len()
        );
        assert!(text.contains(&format!(
            "[... {} bytes left out ...]",
            300_011 - 2 * OUTPUT_BYTES
        )));
        assert!(text.len() < 2 * OUTPUT_BYTES + 100);
    }
}
