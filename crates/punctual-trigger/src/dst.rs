//! What becomes of times that the clock skips or repeats.

use crate::{TriggerError, names};
use serde_json::{Value, json};

/// For a time inside a gap, which the clock skips in spring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// Nothing fires.
    Skip,
    /// Fires at the end of the gap, once however many times match inside.
    End,
    /// Moved forward by the width of the gap: 02:30 becomes 03:30.
    Shift,
}

/// For a time inside a fold, which the clock passes twice in autumn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fold {
    /// Fires in the first pass only.
    First,
    /// Fires in the second pass only.
    Second,
    /// Fires in both passes.
    Both,
}

/// The policy of a trigger for daylight saving and other changes of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Dst {
    /// As Vixie cron: a cron schedule at fixed times fires once at the end of a gap and once, at the first, in a fold;
    /// any other skips the gap and fires in both passes. Calendar intervals: end of the gap, first.
    #[default]
    Vixie,
    /// As `APScheduler` means it: shift and both; calendar intervals skip and first.
    Apscheduler,
    /// These rules for every match; what is left out is as in [`Dst::Vixie`].
    Rules {
        /// Inside a gap.
        gap: Option<Gap>,
        /// Inside a fold.
        fold: Option<Fold>,
    },
}

/// A policy worked out for one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) gap: Gap,
    pub(crate) fold: Fold,
}

/// What the defaults depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Cron with neither `*` nor a step in hour, minute and second.
    Fixed,
    /// Any other cron.
    Wildcard,
    Calendar,
}

impl Dst {
    pub(crate) fn rules(self, shape: Shape) -> Rules {
        let vixie = match shape {
            Shape::Fixed | Shape::Calendar => (Gap::End, Fold::First),
            Shape::Wildcard => (Gap::Skip, Fold::Both),
        };
        let (gap, fold) = match (self, shape) {
            (Dst::Vixie, _) => vixie,
            (Dst::Apscheduler, Shape::Calendar) => (Gap::Skip, Fold::First),
            (Dst::Apscheduler, _) => (Gap::Shift, Fold::Both),
            (Dst::Rules { gap, fold }, _) => (gap.unwrap_or(vixie.0), fold.unwrap_or(vixie.1)),
        };
        Rules { gap, fold }
    }

    pub(crate) fn from_json(value: &Value) -> Result<Dst, TriggerError> {
        let wrong = |value: &Value| {
            TriggerError::at(
                "dst",
                value,
                "must be \"vixie\", \"apscheduler\", or an object such as {\"gap\": \"skip\", \"fold\": \"both\"}",
            )
        };
        match value {
            Value::String(text) if text == "vixie" => Ok(Dst::Vixie),
            Value::String(text) if text == "apscheduler" => Ok(Dst::Apscheduler),
            Value::Object(map) if !map.is_empty() => {
                let (mut gap, mut fold) = (None, None);
                for (key, value) in map {
                    match key.as_str() {
                        "gap" => gap = Some(pick("dst.gap", value, &GAPS)?),
                        "fold" => fold = Some(pick("dst.fold", value, &FOLDS)?),
                        _ => {
                            let cure = names::nearest(key, ["gap", "fold"])
                                .map(|guess| format!("; did you mean \"{guess}\"?"))
                                .unwrap_or_default();
                            let message =
                                format!("unknown key{cure}; the keys are \"gap\" and \"fold\"");
                            return Err(TriggerError::at(&format!("dst.{key}"), value, message));
                        }
                    }
                }
                Ok(Dst::Rules { gap, fold })
            }
            _ => Err(wrong(value)),
        }
    }

    /// Nothing for the default.
    pub(crate) fn to_json(self) -> Option<Value> {
        match self {
            Dst::Vixie => None,
            Dst::Apscheduler => Some(json!("apscheduler")),
            Dst::Rules { gap, fold } => {
                let mut map = serde_json::Map::new();
                map.extend(gap.map(|gap| ("gap".to_owned(), word(&gap, &GAPS).into())));
                map.extend(fold.map(|fold| ("fold".to_owned(), word(&fold, &FOLDS).into())));
                Some(map.into())
            }
        }
    }
}

const GAPS: [(&str, Gap); 3] = [
    ("skip", Gap::Skip),
    ("end", Gap::End),
    ("shift", Gap::Shift),
];
const FOLDS: [(&str, Fold); 3] = [
    ("first", Fold::First),
    ("second", Fold::Second),
    ("both", Fold::Both),
];

fn pick<T: Copy>(field: &str, value: &Value, words: &[(&str, T)]) -> Result<T, TriggerError> {
    words
        .iter()
        .find(|(word, _)| value == word)
        .map(|&(_, meaning)| meaning)
        .ok_or_else(|| {
            let allowed: Vec<_> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            TriggerError::at(
                field,
                value,
                format!("must be one of {}", allowed.join(", ")),
            )
        })
}

fn word<T: PartialEq>(meaning: &T, words: &[(&'static str, T)]) -> &'static str {
    words
        .iter()
        .find(|(_, other)| other == meaning)
        .map(|&(word, _)| word)
        .expect("every rule has a word in its table")
}
