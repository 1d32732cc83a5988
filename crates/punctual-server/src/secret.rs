//! Texts that must not be seen.

use std::fmt;

use sha2::{Digest, Sha256};

/// What every token of ours begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "pct_";

/// A token. Prints as stars; only its hash is stored.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// A given token that is too easily guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token has {0} characters; it takes at least 16 printable ones without spaces, better 32 random ones"
)]
pub struct WeakSecret(usize);

impl Secret {
    /// A fresh token of 256 random bits.
    ///
    /// # Panics
    ///
    /// Where the operating system has no random numbers.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        Self(format!("{PREFIX}{}", hex(&bytes)))
    }

    /// A token that an operator chose.
    pub fn given(text: &str) -> Result<Self, WeakSecret> {
        let text = text.trim();
        if text.len() < 16 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WeakSecret(text.chars().count()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text itself: to print it once, or to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }
}

/// The SHA-256 of a token. Enough for 256 random bits, which nobody guesses from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether both are equal, in a time that does not tell where they differ.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_do_not_show() {
        let token = Secret::random();
        assert_eq!(token.reveal().len(), 4 + 64);
        assert_eq!(format!("{token:?}"), "****");
        let hash = Hash::from_hex(&token.hash().to_hex()).unwrap();
        assert!(hash.matches(&Hash::of(token.reveal())));
        assert!(!hash.matches(&Hash::of("pct_")));
        assert!(Secret::given("short").is_err());
        assert!(Secret::given("has a space inside it").is_err());
    }
}
