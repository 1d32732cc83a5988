//! Reading a JSON object field by field: each known, each of the right type, each error with its path.

use std::time::Duration;

use punctual_core::document::seconds;
use punctual_core::scheduler::nearest;
use serde_json::{Map, Value};

use crate::problem::{Answer, Problem};

/// What is left to read of an object.
#[derive(Debug)]
pub(crate) struct Fields {
    rest: Map<String, Value>,
}

/// What a value is, for people.
pub(crate) fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong(key: &str, value: &Value, wanted: &str) -> Problem {
    Problem::invalid(key, format!("is {}; it takes {wanted}", what(value)))
}

impl Fields {
    /// The fields of a request's body.
    pub(crate) fn new(body: Value) -> Answer<Self> {
        match body {
            Value::Object(rest) => Ok(Self { rest }),
            other => Err(Problem::new(
                axum::http::StatusCode::UNPROCESSABLE_ENTITY,
                format!("the body is {}; it takes an object", what(&other)),
            )),
        }
    }

    /// A field as it is; `null` is a value.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.rest.remove(key)
    }

    /// Whether a field is there and not null, without reading it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.rest.get(key).is_some_and(|value| !value.is_null())
    }

    fn present(&mut self, key: &str) -> Option<Value> {
        self.take(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, key: &str) -> Answer<Option<String>> {
        match self.present(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, &other, "a text")),
        }
    }

    pub(crate) fn flag(&mut self, key: &str) -> Answer<Option<bool>> {
        match self.present(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(key, &other, "true or false")),
        }
    }

    pub(crate) fn list(&mut self, key: &str) -> Answer<Option<Vec<Value>>> {
        match self.present(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(key, &other, "a list")),
        }
    }

    pub(crate) fn object(&mut self, key: &str) -> Answer<Option<Map<String, Value>>> {
        match self.present(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(wrong(key, &other, "an object")),
        }
    }

    pub(crate) fn texts(&mut self, key: &str) -> Answer<Option<Vec<String>>> {
        let Some(list) = self.list(key)? else {
            return Ok(None);
        };
        let texts = list.into_iter().enumerate().map(|(i, value)| match value {
            Value::String(text) => Ok(text),
            other => Err(wrong(&format!("{key}[{i}]"), &other, "a text")),
        });
        texts.collect::<Answer<_>>().map(Some)
    }

    /// A whole number of at least 1.
    pub(crate) fn count(&mut self, key: &str) -> Answer<Option<u32>> {
        let wanted = format!("a whole number from 1 to {}", u32::MAX);
        match self.present(key) {
            None => Ok(None),
            Some(Value::Number(number)) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|&number| number > 0)
                .map(Some)
                .ok_or_else(|| Problem::invalid(key, format!("is {number}; it takes {wanted}"))),
            Some(other) => Err(wrong(key, &other, &wanted)),
        }
    }

    /// A whole number from 0.
    pub(crate) fn whole(&mut self, key: &str, max: u64) -> Answer<Option<u64>> {
        let wanted = format!("a whole number from 0 to {max}");
        match self.present(key) {
            None => Ok(None),
            Some(Value::Number(number)) => number
                .as_u64()
                .filter(|&number| number <= max)
                .map(Some)
                .ok_or_else(|| Problem::invalid(key, format!("is {number}; it takes {wanted}"))),
            Some(other) => Err(wrong(key, &other, &wanted)),
        }
    }

    /// Seconds; `Some(None)` where the field is null, which takes a limit away.
    #[expect(
        clippy::option_option,
        reason = "absent, and present as nothing, are two things"
    )]
    pub(crate) fn seconds(&mut self, key: &str) -> Answer<Option<Option<Duration>>> {
        let wanted = format!("a number of seconds above 0, to {}, or null", seconds::MAX);
        match self.take(key) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::Number(number)) => number
                .as_f64()
                .and_then(seconds::from_f64)
                .map(|duration| Some(Some(duration)))
                .ok_or_else(|| Problem::invalid(key, format!("is {number}; it takes {wanted}"))),
            Some(other) => Err(wrong(key, &other, &wanted)),
        }
    }

    /// One of a few words.
    pub(crate) fn word<T>(&mut self, key: &str, words: &[(&str, T)]) -> Answer<Option<T>>
    where
        T: Copy,
    {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let found = words.iter().find(|(word, _)| *word == text);
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        match found {
            Some(&(_, value)) => Ok(Some(value)),
            None => Err(Problem::invalid(
                key,
                format!("{text:?} is not known; it takes {}", names.join(", ")),
            )),
        }
    }

    /// Refuses the first field that is not known, with the nearest name that is.
    pub(crate) fn only(&self, known: &[&str], read_only: &[&str]) -> Answer<()> {
        let Some(key) = self.rest.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        if read_only.contains(&key.as_str()) {
            return Err(Problem::invalid(key, "is set by the server; leave it out"));
        }
        let message = match nearest(key, known.iter().copied()).first() {
            Some(guess) => format!("unknown field; did you mean {guess:?}?"),
            None => format!("unknown field; these are known: {}", known.join(", ")),
        };
        Err(Problem::invalid(key, message))
    }
}
