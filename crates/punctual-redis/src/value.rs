//! Taking the server's answers apart.

use punctual_backend::BackendResult;
use redis::Value;

use crate::error::senseless;

/// An answer of several parts.
pub(crate) fn array(value: Value) -> BackendResult<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        other => Err(senseless(&format!("{other:?} is no list"))),
    }
}

/// An answer of just so many parts.
pub(crate) fn parts<const N: usize>(value: Value) -> BackendResult<[Value; N]> {
    array(value)?
        .try_into()
        .map_err(|_| senseless(&format!("not {N} parts")))
}

/// The answers of just so many commands.
pub(crate) fn all<const N: usize>(answers: Vec<Value>) -> BackendResult<[Value; N]> {
    parts(Value::Array(answers))
}

/// Bytes, or nothing.
pub(crate) fn bytes(value: Value) -> BackendResult<Option<Vec<u8>>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        other => Err(senseless(&format!("{other:?} is no text"))),
    }
}

/// Text, or nothing. What is no UTF-8 was not written by Punctual; it is shown as well as it can be.
pub(crate) fn text(value: Value) -> BackendResult<Option<String>> {
    Ok(bytes(value)?.map(lossy))
}

pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A whole number; scores come as text.
pub(crate) fn number(value: Value) -> BackendResult<i64> {
    match value {
        Value::Int(number) => Ok(number),
        other => {
            let text = text(other)?.ok_or_else(|| senseless("a number is missing"))?;
            parse_number(&text).ok_or_else(|| senseless(&format!("{text:?} is no number")))
        }
    }
}

/// A score: whole, and exact below 2^53.
pub(crate) fn parse_number(text: &str) -> Option<i64> {
    let as_float = || text.parse::<f64>().ok().map(|number| number as i64);
    text.parse().ok().or_else(as_float)
}

/// A list of texts, each of which may be missing.
pub(crate) fn texts(value: Value) -> BackendResult<Vec<Option<String>>> {
    array(value)?.into_iter().map(text).collect()
}
