//! Where a request goes.

use hyper::Uri;
use hyper::header::HeaderValue;

/// An `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Uri);

/// Why a text is no URL to go to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It cannot be read.
    #[error("{0:?} is not a URL")]
    Unreadable(String),
    /// It has another scheme, or none.
    #[error("{0:?} is not a URL that begins with http:// or https://")]
    Scheme(String),
    /// It has a user or a password in it.
    #[error(
        "a user or password in the URL would be shown to everybody; send a header such as Authorization"
    )]
    Credentials,
}

impl Target {
    /// Checks a URL.
    pub fn new(uri: Uri) -> Result<Self, TargetError> {
        let scheme = uri.scheme_str();
        let Some(authority) = uri.authority() else {
            return Err(TargetError::Scheme(uri.to_string()));
        };
        if !matches!(scheme, Some("http" | "https")) || authority.host().is_empty() {
            return Err(TargetError::Scheme(uri.to_string()));
        }
        if authority.as_str().contains('@') {
            return Err(TargetError::Credentials);
        }
        Ok(Self(uri))
    }

    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let uri = text
            .parse()
            .map_err(|_| TargetError::Unreadable(text.to_owned()))?;
        Self::new(uri)
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The port, by the scheme where none is given.
    pub fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(default)
    }

    /// What stands in the request line.
    pub(crate) fn path(&self) -> Uri {
        let path = self.0.path_and_query();
        path.and_then(|path| path.as_str().parse().ok())
            .unwrap_or_else(|| Uri::from_static("/"))
    }

    /// What stands in `Host`.
    pub(crate) fn authority(&self) -> HeaderValue {
        let authority = self.0.authority();
        authority
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
            .unwrap_or_else(|| HeaderValue::from_static(""))
    }

    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.is_https() == other.is_https()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    /// Where a `Location` leads from here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, TargetError> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = self.0.scheme_str().unwrap_or("http");
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        if location.contains("://") {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let base = self.0.path();
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.is_empty() || location.starts_with('?') {
            format!("{base}{location}")
        } else {
            let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        Self::parse(&format!("{scheme}://{authority}{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let here = Target::parse("http://a.example:81/x/y?q=1").unwrap();
        for (location, there) in [
            ("/z", "http://a.example:81/z"),
            ("z", "http://a.example:81/x/z"),
            ("?p=2", "http://a.example:81/x/y?p=2"),
            ("//b.example/z", "http://b.example/z"),
            ("https://b.example/z#frag", "https://b.example/z"),
        ] {
            assert_eq!(here.join(location).unwrap(), Target::parse(there).unwrap());
        }
        assert!(here.join("file:///etc/passwd").is_err());
        assert!(here.join("http://u:p@b.example/").is_err());
        let https = Target::parse("https://a.example:81/").unwrap();
        assert!(!here.same_origin(&https));
    }
}
