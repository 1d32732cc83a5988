//! Query parameters: each known, each checked.

use axum::http::Uri;
use punctual_core::scheduler::nearest;

use crate::percent::decode_query;
use crate::problem::{Answer, Problem};

/// The most items a page holds.
pub(crate) const LIMIT_MAX: usize = 1000;
/// How many it holds where the request does not say.
pub(crate) const LIMIT_DEFAULT: usize = 100;

/// The parameters of one request, decoded.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of `uri`, which takes only the keys in `known`.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Answer<Self> {
        let mut pairs = Vec::new();
        for part in uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter(|part| !part.is_empty())
        {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (decode_query(key)?, decode_query(value)?);
            if !known.contains(&key.as_str()) {
                return Err(unknown(&key, known));
            }
            pairs.push((key, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter; the last one where there are several.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter, parsed; `wanted` says what it takes.
    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Answer<Option<T>> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        let parsed = parse(text);
        if parsed.is_none() {
            return Err(Problem::invalid(key, format!("{text:?} is not {wanted}")));
        }
        Ok(parsed)
    }

    /// `limit`, from 1 to 1000.
    pub(crate) fn limit(&self) -> Answer<Option<usize>> {
        let wanted = format!("a whole number from 1 to {LIMIT_MAX}");
        self.parsed("limit", &wanted, |text| {
            text.parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        })
    }
}

fn unknown(key: &str, known: &[&str]) -> Problem {
    let message = match nearest(key, known.iter().copied()).first() {
        Some(guess) => format!("unknown parameter; did you mean {guess:?}?"),
        None if known.is_empty() => "unknown parameter; this takes none".to_owned(),
        None => format!("unknown parameter; these are known: {}", known.join(", ")),
    };
    Problem::invalid(key, message)
}
