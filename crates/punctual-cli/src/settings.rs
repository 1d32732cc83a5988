//! The settings of `serve`: flag, environment, file, default, in that order, into one resolved struct.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use punctual::address::{AddressError, StoreAddress};
use punctual_core::scheduler::nearest;
use punctual_core::store::Retention;
use punctual_trigger::words;

use crate::exit::{Code, Failure, Outcome};

/// The file that is read where it exists and none is named.
pub(crate) const DEFAULT_FILE: &str = "punctual.toml";
/// The address where none is named.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:8377";
/// The store where none is named.
const DEFAULT_STORE: &str = "sqlite:punctual.db";
const LEASE_MIN: Duration = Duration::from_secs(2);

/// Variables with our prefix that are no settings of `serve`.
const OTHER_VARIABLES: &[&str] = &[
    "PUNCTUAL_TOKEN",
    "PUNCTUAL_SERVER",
    "PUNCTUAL_CONFIG",
    "PUNCTUAL_LOG",
    // What a worker of a process pool is given, and passes on to what it starts.
    "PUNCTUAL_WORKER",
    // What a job's command is given.
    "PUNCTUAL_IDEMPOTENCY_KEY",
    "PUNCTUAL_FENCE",
    "PUNCTUAL_JOB_ID",
    "PUNCTUAL_RUN_ID",
    "PUNCTUAL_ATTEMPT",
];

/// Everything `serve` goes by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) store: StoreAddress,
    /// What the names of the store's tables, keys or collections begin with.
    pub(crate) store_prefix: String,
    pub(crate) prefix: String,
    pub(crate) allow_command: bool,
    pub(crate) allow_private_http: bool,
    pub(crate) lease: Duration,
    pub(crate) drain: Duration,
    pub(crate) timezone: Option<String>,
    pub(crate) max_workers: usize,
    pub(crate) retention: Retention,
    pub(crate) token_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN.parse().expect("the default is an address"),
            store: DEFAULT_STORE.parse().expect("the default is an address"),
            store_prefix: "punctual_".to_owned(),
            prefix: "/scheduler".to_owned(),
            allow_command: false,
            allow_private_http: false,
            lease: Duration::from_secs(30),
            drain: Duration::from_secs(20),
            timezone: None,
            max_workers: 100,
            retention: Retention::default(),
            token_file: None,
        }
    }
}

type Set = fn(&mut Settings, &str) -> Result<(), String>;

/// Every setting: its key in the file (the flag has dashes, the variable `PUNCTUAL_` and capitals), and how it is read.
const TABLE: &[(&str, Set)] = &[
    ("listen", |settings, text| {
        settings.listen = listen(text)?;
        Ok(())
    }),
    ("store", |settings, text| {
        settings.store = text
            .parse()
            .map_err(|error: AddressError| error.to_string())?;
        Ok(())
    }),
    ("store_prefix", |settings, text| {
        settings.store_prefix = store_prefix(text)?;
        Ok(())
    }),
    ("prefix", |settings, text| {
        settings.prefix = prefix(text)?;
        Ok(())
    }),
    ("allow_command", |settings, text| {
        settings.allow_command = flag(text)?;
        Ok(())
    }),
    ("allow_private_http", |settings, text| {
        settings.allow_private_http = flag(text)?;
        Ok(())
    }),
    ("lease", |settings, text| {
        let lease = words::duration(text).map_err(|error| error.to_string())?;
        if lease < LEASE_MIN {
            return Err(format!("{text:?} is too short; a lease is at least 2s"));
        }
        settings.lease = lease;
        Ok(())
    }),
    ("drain", |settings, text| {
        settings.drain = words::duration(text).map_err(|error| error.to_string())?;
        Ok(())
    }),
    ("timezone", |settings, text| {
        settings.timezone = Some(text.to_owned());
        Ok(())
    }),
    ("max_workers", |settings, text| {
        settings.max_workers = whole(text, 1)?;
        Ok(())
    }),
    ("retention_days", |settings, text| {
        let days: u64 = whole(text, 0)?;
        settings.retention.age = Duration::from_secs(days.saturating_mul(86_400));
        Ok(())
    }),
    ("retention_rows", |settings, text| {
        settings.retention.rows_per_job = whole(text, 0)?;
        Ok(())
    }),
    ("token_file", |settings, text| {
        settings.token_file = Some(text.into());
        Ok(())
    }),
];

fn listen(text: &str) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    text.parse().map_err(|_| {
        format!("{text:?} is not an address; write an IP address and a port, such as 127.0.0.1:8377 or [::1]:8377")
    })
}

fn store_prefix(text: &str) -> Result<String, String> {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if begins_well && text.chars().all(plain) && text.len() <= 32 {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not the beginning of a name; it takes up to 32 ASCII letters, digits and underscores, and no digit first"
    ))
}

fn prefix(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if (trimmed.is_empty() || trimmed.starts_with('/')) && trimmed.chars().all(fits) {
        return Ok(trimmed.to_owned());
    }
    Err(format!(
        "{text:?} is not a path; write something like /scheduler"
    ))
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn whole<T: std::str::FromStr + PartialOrd + From<u8>>(text: &str, min: u8) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|number| *number >= T::from(min))
        .ok_or_else(|| format!("{text:?} is not a whole number from {min}"))
}

/// Texts for some of the settings, from one place.
pub(crate) type Layer = Vec<(String, String)>;

fn apply(settings: &mut Settings, layer: &Layer, name: impl Fn(&str) -> String) -> Outcome {
    for (key, text) in layer {
        let Some((_, set)) = TABLE.iter().find(|(known, _)| known == key) else {
            let keys = TABLE.iter().map(|(key, _)| *key);
            let guess = match nearest(key, keys.clone()).first() {
                Some(guess) => format!("did you mean {guess}?"),
                None => format!("these are known: {}", keys.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{}: unknown setting; {guess}", name(key));
            return Err(Failure::new(Code::Usage, message));
        };
        set(settings, text).map_err(|why| Failure::usage(format!("{}: {why}", name(key))))?;
    }
    Ok(())
}

fn read_file(path: &Path) -> Outcome<Layer> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::plain(format!("{shown} cannot be read: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Its own text quotes the line, and that may hold the password of a store.
        let place = error.span().and_then(|span| text.get(..span.start));
        let line = place.map_or(1, |before| before.matches('\n').count() + 1);
        let why = error.message();
        Failure::usage(format!("{shown} is not TOML: line {line}: {why}"))
    })?;
    table
        .into_iter()
        .map(|(key, value)| {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => {
                    let message = format!("{shown}: {key}: takes one value, no list or table");
                    return Err(Failure::usage(message));
                }
            };
            Ok((key, text))
        })
        .collect()
}

/// Settings from the environment, and names with our prefix that mean nothing.
fn read_environment(variables: impl Iterator<Item = (String, String)>) -> (Layer, Vec<String>) {
    let mut layer = Layer::new();
    let mut unknown = Vec::new();
    for (name, text) in variables {
        let Some(key) = name.strip_prefix("PUNCTUAL_") else {
            continue;
        };
        // Where our own tests find their servers.
        if key.starts_with("TEST_") || key.starts_with("SERVICES_") {
            continue;
        }
        let key = key.to_ascii_lowercase();
        if TABLE.iter().any(|(known, _)| *known == key) {
            layer.push((key, text));
        } else if !OTHER_VARIABLES.contains(&name.as_str()) {
            unknown.push(name);
        }
    }
    (layer, unknown)
}

/// Settles every setting. `file` is the one that was named; without it [`DEFAULT_FILE`] is read where it exists.
pub(crate) fn resolve(
    flags: &Layer,
    variables: impl Iterator<Item = (String, String)>,
    file: Option<&Path>,
) -> Outcome<Settings> {
    let mut settings = Settings::default();
    let (environment, unknown) = read_environment(variables);
    if let Some(name) = unknown.first() {
        // Compared without the prefix, by which they are all alike.
        let others = OTHER_VARIABLES.iter().map(|name| name.to_ascii_lowercase());
        let others = others.filter_map(|name| Some(name.strip_prefix("punctual_")?.to_owned()));
        let known: Vec<String> = TABLE
            .iter()
            .map(|(key, _)| (*key).to_owned())
            .chain(others)
            .collect();
        let key = name.trim_start_matches("PUNCTUAL_");
        let guess = nearest(key, known.iter().map(String::as_str));
        let guess = match guess.first() {
            Some(guess) => format!("; did you mean PUNCTUAL_{}?", guess.to_ascii_uppercase()),
            None => "; each setting in docs/server.md has one".to_owned(),
        };
        return Err(Failure::usage(format!("{name}: unknown variable{guess}")));
    }
    let default = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default.exists().then_some(default));
    if let Some(path) = file {
        let name = |key: &str| format!("{}: {key}", path.display());
        apply(&mut settings, &read_file(path)?, name)?;
    }
    let variable = |key: &str| format!("PUNCTUAL_{}", key.to_ascii_uppercase());
    apply(&mut settings, &environment, variable)?;
    let flag = |key: &str| format!("--{}", key.replace('_', "-"));
    apply(&mut settings, flags, flag)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(pairs: &[(&str, &str)]) -> Layer {
        let pair = |&(key, text): &(&str, &str)| (key.to_owned(), text.to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("punctual.toml");
        std::fs::write(
            &file,
            "listen = '127.0.0.1:1'\nlease = '1m'\nmax_workers = 7\n",
        )
        .unwrap();
        let variables = layer(&[
            ("PUNCTUAL_LISTEN", "127.0.0.1:2"),
            ("PUNCTUAL_LEASE", "2m"),
            ("HOME", "x"),
        ]);
        let flags = layer(&[("listen", "127.0.0.1:3")]);
        let settings = resolve(&flags, variables.into_iter(), Some(&file)).unwrap();
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.lease.as_secs(), 120);
        assert_eq!(settings.max_workers, 7);
        assert_eq!(settings.store.to_string(), "sqlite:punctual.db");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        let check = |text: &str, word: &str| {
            std::fs::write(&file, text).unwrap();
            let error = resolve(&Layer::new(), std::iter::empty(), Some(&file)).unwrap_err();
            assert!(format!("{error:?}").contains(word), "{error:?}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        };
        check("lisen = 1", "did you mean listen?");
        check("store_prefix = 'a; b'", "not the beginning of a name");
        check("lease = '1s'", "at least 2s");
        check("store = 'oracle:x'", "no kind of store");
        check("drain = 'soon'", "not a duration");
        check("listen = 'here'", "not an address");
        check("allow_command = 'perhaps'", "neither true nor false");
        check("= 1", "not TOML: line 1");
        check(
            "lease = '3s'\nstore = 'postgres://u:s3cret@h\n",
            "not TOML: line 2",
        );
        check("store = 'postgre://u:s3cret@h'", "no kind of store");
        let variables = layer(&[("PUNCTUAL_LEASE", "1999ms")]);
        let error = resolve(&Layer::new(), variables.into_iter(), None).unwrap_err();
        assert!(format!("{error:?}").contains("PUNCTUAL_LEASE: \\\"1999ms\\\" is too short"));
        let variables = layer(&[("PUNCTUAL_STOR", "memory:")]);
        let error = resolve(&Layer::new(), variables.into_iter(), None).unwrap_err();
        assert!(format!("{error:?}").contains("did you mean PUNCTUAL_STORE?"));
        let variables = layer(&[("PUNCTUAL_FOO", "1")]);
        let error = resolve(&Layer::new(), variables.into_iter(), None).unwrap_err();
        assert!(!format!("{error:?}").contains("did you mean"), "{error:?}");
    }
}
