//! What is stored under an id: a line that scripts read, the class, the live runs, and the state as JSON.
//!
//! `<version> <wake_at or -> <place or -> <flag> <live runs>\n<executor>\n<task>\n<16 bytes for each live run><JSON>`

use std::sync::Arc;

use jiff::Timestamp;
use punctual_backend::{Body, Damaged, Version, codec};
use punctual_core::id::{Fence, RunId};
use punctual_core::job::{JobState, Paused};
use serde_json::Value;

/// Versions begin at random, so that what lies under an id is never taken for what lay there before; numbers of Lua are
/// exact below 2^53.
const FIRST_VERSION_MAX: u64 = 1 << 52;

/// The place of jobs without a next run.
pub(crate) const LAST: &str = "ffffffffffffffff";

/// The version after another.
pub(crate) fn next_version(expected: Option<Version>) -> u64 {
    expected.map_or_else(
        || 1 + fastrand::u64(..FIRST_VERSION_MAX),
        |version| version.0 + 1,
    )
}

/// A number as 16 digits that sort as numbers do.
pub(crate) fn place(at: i64) -> String {
    format!("{:016x}", at as u64 ^ 1 << 63)
}

/// Reads [`place`] back.
pub(crate) fn read_place(digits: &str) -> Option<i64> {
    let number = u64::from_str_radix(digits, 16).ok()?;
    Some((number ^ 1 << 63) as i64)
}

/// The head and the live runs, before the JSON.
pub(crate) struct Head<'a> {
    pub(crate) version: u64,
    pub(crate) wake_at: Option<i64>,
    pub(crate) listed: Option<&'a str>,
    pub(crate) flag: char,
    pub(crate) class: &'a str,
    pub(crate) live: &'a [u8],
}

impl Head<'_> {
    /// With the JSON behind it.
    pub(crate) fn write(&self, json: &str) -> Vec<u8> {
        let wake_at = self
            .wake_at
            .map_or_else(|| "-".to_owned(), |wake_at| wake_at.to_string());
        let mut text = format!(
            "{} {wake_at} {} {} {}\n{}\n",
            self.version,
            self.listed.unwrap_or("-"),
            self.flag,
            self.live.len() / 16,
            self.class
        )
        .into_bytes();
        text.extend_from_slice(self.live);
        text.extend_from_slice(json.as_bytes());
        text
    }

    /// The head, and the JSON.
    pub(crate) fn read(stored: &[u8]) -> Option<(Head<'_>, &[u8])> {
        let mut lines = stored.splitn(4, |&byte| byte == b'\n');
        let head = std::str::from_utf8(lines.next()?).ok()?;
        let (executor, task) = (lines.next()?, lines.next()?);
        let rest = lines.next()?;
        let class_at = head.len() + 1;
        let class = &stored[class_at..class_at + executor.len() + 1 + task.len()];
        let mut words = head.split(' ');
        let version = words.next()?.parse().ok()?;
        let optional = |word| if word == "-" { None } else { Some(word) };
        let wake_at = optional(words.next()?).map(str::parse).transpose().ok()?;
        let listed = optional(words.next()?);
        let flag = words.next()?.parse().ok()?;
        let count: usize = words.next()?.parse().ok()?;
        let (live, json) = rest.split_at_checked(count.checked_mul(16)?)?;
        let head = Head {
            version,
            wake_at,
            listed,
            flag,
            class: std::str::from_utf8(class).ok()?,
            live,
        };
        Some((head, json))
    }
}

/// The ids in a row of 16 bytes each.
pub(crate) fn run_ids(live: &[u8]) -> impl Iterator<Item = RunId> {
    let (ids, _) = live.as_chunks::<16>();
    ids.iter().map(|id| RunId(u128::from_be_bytes(*id)))
}

/// The version, as scripts find it: digits before a space, or 0.
fn version(stored: &[u8]) -> Version {
    let digits = stored.split(|&byte| byte == b' ').next();
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Version(number.unwrap_or(0))
}

/// What a trace says beside its live runs.
pub(crate) fn write_trace(fence: Fence) -> String {
    format!("{{\"fence\":{}}}", fence.0)
}

/// What a stored state says, without the live runs.
pub(crate) struct Stored {
    pub(crate) version: Version,
    pub(crate) body: Found,
    pub(crate) live: Vec<RunId>,
}

/// What lies there.
pub(crate) enum Found {
    /// A job, whose definition is kept apart.
    Job(JobState),
    /// Anything else.
    Other(Body),
}

impl Found {
    /// With the definition, if there is one.
    pub(crate) fn with(self, definition: Option<Arc<str>>) -> Body {
        match (self, definition) {
            (Self::Job(state), Some(document)) => Body::Job { state, document },
            (Self::Job(state), None) => damaged(
                "its definition is missing".to_owned(),
                codec::write_state(&state).as_bytes(),
                state.wake_at.map(Timestamp::as_microsecond),
            ),
            (Self::Other(body), _) => body,
        }
    }
}

/// Reads what is stored under an id. `due`: where it stands among those that are due, if it was found there.
pub(crate) fn read(stored: &[u8], due: Option<i64>) -> Stored {
    let Some((head, json)) = Head::read(stored) else {
        return Stored {
            version: version(stored),
            body: Found::Other(damaged(
                "the head of its state cannot be read".to_owned(),
                stored,
                due,
            )),
            live: Vec::new(),
        };
    };
    let other = |error| Found::Other(damaged(error, json, head.wake_at));
    let body = match (head.flag, std::str::from_utf8(json)) {
        ('t', _) => Found::Other(Body::Nothing {
            fence: Fence(number_in(json, "fence")),
        }),
        (_, Ok(text)) => codec::read_state(text).map_or_else(other, Found::Job),
        (_, Err(error)) => other(format!("state: {error}")),
    };
    Stored {
        version: Version(head.version),
        body,
        live: run_ids(head.live).collect(),
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn number_in(bytes: &[u8], field: &str) -> u64 {
    json(bytes)[field].as_u64().unwrap_or(0)
}

fn damaged(error: String, stored: &[u8], wake_at: Option<i64>) -> Body {
    let paused: Option<Paused> = serde_json::from_value(json(stored)["paused"].take()).ok();
    let wake_at = wake_at.and_then(|wake_at| Timestamp::from_microsecond(wake_at).ok());
    Body::Damaged(Damaged {
        error,
        stored: String::from_utf8_lossy(stored).into_owned(),
        revision: number_in(stored, "revision"),
        fence: Fence(number_in(stored, "fence")),
        paused,
        wake_at: wake_at.unwrap_or(Timestamp::MAX),
    })
}

/// The flag of a job that is there.
pub(crate) fn flag(state: &JobState) -> char {
    if state.paused.is_some() { 'p' } else { 'a' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_whole() {
        for (wake_at, listed) in [(None, None), (Some(-7), Some(LAST)), (Some(1 << 52), None)] {
            let live = [10; 32];
            let text = Head {
                version: 12,
                wake_at,
                listed,
                flag: 'a',
                class: "an executor\na {task}",
                live: &live,
            }
            .write("{\"x\":\"\\n\"}\n");
            let (head, json) = Head::read(&text).unwrap();
            assert_eq!(
                (head.version, head.wake_at, head.listed),
                (12, wake_at, listed)
            );
            assert_eq!((head.flag, head.class), ('a', "an executor\na {task}"));
            assert_eq!((head.live, json), (&live[..], &b"{\"x\":\"\\n\"}\n"[..]));
        }
        for bad in [
            "",
            "{}",
            "1 - - a 0\nx\ny",
            "1 - - a 2\nx\ny\nshort",
            "x - - a 0\n\n\n",
        ] {
            assert!(Head::read(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn places_sort_as_numbers() {
        let numbers = [i64::MIN, -1, 0, 1, 1 << 60, i64::MAX];
        let places: Vec<_> = numbers.iter().map(|&number| place(number)).collect();
        assert!(places.is_sorted());
        assert_eq!(places[5], LAST);
        for (number, place) in numbers.iter().zip(&places) {
            assert_eq!(read_place(place), Some(*number));
        }
    }
}
