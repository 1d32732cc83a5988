//! Percent-encoding, decoded exactly once, and never leniently.

use crate::problem::Problem;

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Decodes `text`; `plus` says whether `+` is a space, as in a query.
fn decode_bytes(text: &str, plus: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if plus => b' ',
            other => other,
        });
    }
    Some(bytes)
}

fn decode_text(text: &str, plus: bool) -> Result<String, Problem> {
    let bytes = decode_bytes(text, plus).ok_or_else(|| {
        Problem::malformed(format!(
            "{text:?} has a % without two hexadecimal digits; write %25 for a percent sign"
        ))
    })?;
    String::from_utf8(bytes)
        .map_err(|_| Problem::malformed(format!("{text:?} is not UTF-8 once it is decoded")))
}

/// A part of a path.
pub(crate) fn decode_path(text: &str) -> Result<String, Problem> {
    decode_text(text, false)
}

/// A key or value of a query.
pub(crate) fn decode_query(text: &str) -> Result<String, Problem> {
    decode_text(text, true)
}

/// Encodes everything but unreserved characters, so that a job id is one segment of a path.
pub fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_once() {
        for (raw, decoded) in [
            ("a%2Fb", Some("a/b")),
            ("a%252Fb", Some("a%2Fb")),
            ("a+b", Some("a+b")),
            ("%C3%BC", Some("ü")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decode_path(raw).ok().as_deref(), decoded, "{raw}");
        }
        assert_eq!(decode_query("a+b").unwrap(), "a b");
        assert_eq!(decode_path(&encode("ä/%+ b")).unwrap(), "ä/%+ b");
    }
}
