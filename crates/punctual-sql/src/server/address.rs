//! The address of a server, as people write it; and what of it may be shown.

use std::fmt;

use punctual_core::store::StoreError;

/// An address that was looked at. Whatever it shows holds no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    shown: String,
    secrets: Vec<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown).finish()
    }
}

impl Address {
    /// Looks at an address: its scheme, and the parameters after the `?`, of which unknown ones would be ignored.
    pub(crate) fn parse(
        url: &str,
        schemes: &[&str],
        parameters: &[&str],
    ) -> Result<Self, StoreError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(StoreError::failed(format!(
                "the address of the job store has no scheme; it begins with {}://",
                schemes[0]
            )));
        };
        if !schemes.contains(&scheme) {
            return Err(StoreError::failed(format!(
                "scheme {scheme:?} is not known here; the address begins with {}://",
                schemes.join(":// or ")
            )));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let mut secrets = vec![password.to_owned()];
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = key.split(['[', '%']).next().unwrap_or(key);
            if !parameters.contains(&name) && query.contains('@') && !rest.contains('@') {
                // It may be the rest of a password.
                return Err(StoreError::failed(
                    "the address of the job store has a ? before its @; write %3F for a ? within a password",
                ));
            }
            if !parameters.contains(&name) {
                return Err(StoreError::failed(format!(
                    "parameter {name:?} of the address is not known; known are {}",
                    parameters.join(", ")
                )));
            }
            if name == "password" {
                secrets.push(value.to_owned());
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        let at = if user.is_empty() { "" } else { "@" };
        Ok(Self {
            shown: format!("{scheme}://{user}{at}{place}"),
            secrets,
        })
    }

    /// The address without password and parameters.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The error for an address that the driver cannot read. What it quotes of a password is left out.
    pub(crate) fn refuse(&self, error: &dyn fmt::Display) -> StoreError {
        let mut text = error.to_string();
        for secret in &self.secrets {
            text = text.replace(secret, "***");
        }
        StoreError::failed(format!("{}: {text}", self.shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: &[&str] = &["mysql", "mariadb"];

    #[test]
    fn passwords_are_not_shown() {
        let rows = [
            (
                "mysql://me:secret@db:3306/x?ssl-mode=disabled",
                "mysql://me@db:3306/x",
            ),
            ("mysql://me:se@cret@db/x", "mysql://me@db/x"),
            ("mariadb://db/x", "mariadb://db/x"),
            ("mysql://me@db/x?password=secret", "mysql://me@db/x"),
        ];
        for (url, shown) in rows {
            let address = Address::parse(url, SCHEMES, &["ssl-mode", "password"]).unwrap();
            assert_eq!(address.shown(), shown);
            let refused = address.refuse(&format!("bad secret, bad se@cret in {url}"));
            assert!(!refused.to_string().contains("secret@"), "{refused}");
            assert!(!format!("{address:?}").contains("secret"));
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_right() {
        let rows = [
            ("db:secret@x", "mysql://"),
            ("http://x:secret@db", "mysql:// or mariadb://"),
            ("mysql://x:secret@db/x?sslmod=require", "ssl-mode"),
            ("mysql://x:a?secret@db/x", "%3F"),
            ("mysql://x:a?secret=1@db/x?ssl-mode=required", "%3F"),
        ];
        for (url, word) in rows {
            let error = Address::parse(url, SCHEMES, &["ssl-mode"])
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
