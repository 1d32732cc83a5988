//! Names and numbers that identify things. Only parsing makes one, so a bad value dies at the door.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use uuid::Uuid;

/// The most characters a [`JobId`] or [`TaskName`] may have.
pub const NAME_CHARS_MAX: usize = 191;

/// Why a text is no job id or task name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} {problem}")]
pub struct NameError {
    /// `id`, `task` or `executor`: the field it was meant for.
    pub field: &'static str,
    what: &'static str,
    value: String,
    problem: String,
}

fn check(field: &'static str, what: &'static str, text: &str) -> Result<(), NameError> {
    let chars = text.chars().count();
    let problem = if text.is_empty() {
        format!("is empty; it takes 1 to {NAME_CHARS_MAX} characters")
    } else if chars > NAME_CHARS_MAX {
        format!("has {chars} characters; it takes 1 to {NAME_CHARS_MAX}")
    } else if text.chars().any(char::is_control) {
        "holds a control character; use printable ones".to_owned()
    } else {
        return Ok(());
    };
    let value = text.chars().take(40).collect();
    Err(NameError {
        field,
        what,
        value,
        problem,
    })
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $field:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`: 1 to 191 characters of Unicode, none of them a control character. Kept byte for byte.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check($field, $what, text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// The name under which a job is stored: unique in its store, chosen by the user or random.
    JobId, "id", "job id"
);
name_type!(
    /// The name of the function a job calls. May hold `:` and `.` (`billing:send_invoices`).
    TaskName, "task", "task name"
);
name_type!(
    /// The name of an executor; `default` unless the job says otherwise.
    ExecutorName, "executor", "executor name"
);

impl JobId {
    /// A fresh id: 32 random hexadecimal digits.
    pub fn random() -> Self {
        Self(Uuid::from_u128(random_u128()).simple().to_string().into())
    }
}

impl Default for ExecutorName {
    fn default() -> Self {
        Self("default".into())
    }
}

/// A random number from 0 up to 1.
pub(crate) fn random_fraction() -> f64 {
    f64::from(random_u128() as u32) / f64::from(u32::MAX)
}

fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    u128::from_le_bytes(bytes)
}

/// One life of a job id: random, and renewed when the id is removed and added again or its trigger is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey(pub u64);

impl JobKey {
    /// A fresh key: no two of a process are equal, and those of two processes are so by chance only.
    pub fn random() -> Self {
        static START: LazyLock<u64> = LazyLock::new(|| random_u128() as u64);
        static MADE: AtomicU64 = AtomicU64::new(0);
        // An odd step visits every number before it repeats one, and the halving loses the step's last bit only.
        let step = MADE
            .fetch_add(2, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Never the sign bit: stores keep it in a signed column.
        Self(START.wrapping_add(step) >> 1)
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A running scheduler process, random for each: never a host name, so two on one host are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl NodeId {
    /// A fresh id.
    pub fn random() -> Self {
        Self(random_u128() as u64 >> 1)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for NodeId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// The fencing token of a run: of two owners of one job's runs the later one has the higher number, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(pub u64);

impl Fence {
    /// The next higher token.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The id of one row of the ledger: a version 7 UUID, so ids sort by the moment they were made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u128);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_u128(self.0), f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(|id| Self(id.as_u128()))
    }
}

/// Makes run ids: time, a counter, and random bits of the process, so no two processes make the same one and those
/// of one process ascend even where the clock stands still.
#[derive(Debug)]
pub struct RunIds {
    process: u32,
    made: AtomicU64,
}

impl Default for RunIds {
    fn default() -> Self {
        Self {
            process: random_u128() as u32,
            made: AtomicU64::new(0),
        }
    }
}

impl RunIds {
    /// The next id, for a row made at `now`.
    pub fn next(&self, now: Timestamp) -> RunId {
        let count = self.made.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0) & 0xffff_ffff_ffff;
        // RFC 9562: 48 bits of time, version, 12 bits, variant, 62 bits. The counter takes the upper 42 free bits.
        let high = millis << 16 | 0x7000 | (count >> 30 & 0xfff);
        let low = 0b10 << 62 | (count & 0x3fff_ffff) << 32 | u64::from(self.process);
        RunId(u128::from(high) << 64 | u128::from(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(JobId::new("a/b ü").is_ok());
        assert!(JobId::new("x".repeat(191)).is_ok());
        for (bad, word) in [
            ("", "empty"),
            ("a\nb", "control"),
            (&"é".repeat(192), "192 characters"),
        ] {
            let error = JobId::new(bad).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(error.field, "id");
        }
    }

    #[test]
    fn run_ids_ascend_and_are_version_7() {
        let ids = RunIds::default();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let made: Vec<_> = (0..1000).map(|_| ids.next(now)).collect();
        assert!(made.is_sorted());
        let id = Uuid::from_u128(made[7].0);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(made[7].to_string().parse::<RunId>().unwrap(), made[7]);
    }
}
