//! Who may ask.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use punctual_core::store::{Expect, JobStore, StoreError};
use serde_json::json;

use crate::problem::{Answer, Problem};
use crate::secret::{Hash, Secret};

/// The namespace of the records that hold the hashes of tokens.
pub const TOKENS_NAMESPACE: &str = "tokens";
const ADMIN_KEY: &str = "admin";

/// Who may use the API.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Everybody: for a router that is mounted behind an authentication of the program's own.
    Open,
    /// Who sends a token.
    Tokens(Arc<Tokens>),
}

/// The tokens that open the API.
#[derive(Debug)]
pub struct Tokens(Source);

#[derive(Debug)]
enum Source {
    Given(Hash),
    Stored {
        store: Arc<dyn JobStore>,
        known: Mutex<Vec<Hash>>,
    },
}

/// How a request showed its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// In a header that only a program sends.
    Bearer,
    /// In one that a browser sends by itself.
    Basic,
}

impl Tokens {
    /// Only the token that the operator gave.
    pub fn given(token: &Secret) -> Self {
        Self(Source::Given(token.hash()))
    }

    /// The tokens whose hashes a store keeps.
    pub fn stored(store: Arc<dyn JobStore>) -> Self {
        Self(Source::Stored {
            store,
            known: Mutex::default(),
        })
    }

    /// Makes `token` the admin token, if there is none yet: the first start of the first node. Returns whether it is; then
    /// it is to be shown once, for the store keeps only its hash. May be called again with the same token where the answer
    /// did not come through.
    pub async fn first_start(
        store: &dyn JobStore,
        token: &Secret,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let hash = token.hash().to_hex();
        if let Some(known) = store.record(TOKENS_NAMESPACE, ADMIN_KEY).await? {
            return Ok(known.value["sha256"] == hash.as_str());
        }
        let value = json!({
            "sha256": hash,
            "scope": "admin",
            "created_at": now,
        });
        store
            .put_record(TOKENS_NAMESPACE, ADMIN_KEY, Some(value), Expect::Absent)
            .await
    }

    async fn accepts(&self, token: &str) -> Result<bool, StoreError> {
        let hash = Hash::of(token);
        match &self.0 {
            Source::Given(given) => Ok(given.matches(&hash)),
            Source::Stored { store, known } => {
                let is_known = |known: &[Hash]| {
                    // Every one is compared, so that the time does not tell which.
                    known
                        .iter()
                        .fold(false, |found, one| found | one.matches(&hash))
                };
                if is_known(&known.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return Ok(true);
                }
                let records = store.records(TOKENS_NAMESPACE).await?;
                let hashes: Vec<Hash> = records
                    .iter()
                    .filter_map(|record| Hash::from_hex(record.value["sha256"].as_str()?))
                    .collect();
                let accepted = is_known(&hashes);
                *known.lock().unwrap_or_else(PoisonError::into_inner) = hashes;
                Ok(accepted)
            }
        }
    }

    /// Whether the headers of a request show one of these tokens, as Bearer or as the password of Basic: for handlers
    /// beside the API's. Browsers send Basic by themselves, so a change needs a look at who asked for it, too.
    ///
    /// # Errors
    ///
    /// Where the store that would know is away.
    pub async fn allow(&self, headers: &HeaderMap) -> Result<bool, StoreError> {
        match read(headers) {
            Some((token, _)) => self.accepts(&token).await,
            None => Ok(false),
        }
    }

    /// Checks the credentials of a request.
    ///
    /// # Errors
    ///
    /// 401 where there are none or they are wrong; 503 where the store that would know is away.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> Answer<Credentials> {
        let Some((token, credentials)) = read(headers) else {
            return Err(denied("a token is needed: Authorization: Bearer <token>"));
        };
        match self.accepts(&token).await {
            Ok(true) => Ok(credentials),
            Ok(false) => Err(denied("the token is not valid")),
            Err(error) => {
                tracing::error!(%error, "a token could not be checked");
                Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the token could not be checked, for the job store is away",
                ))
            }
        }
    }
}

fn read(headers: &HeaderMap) -> Option<(String, Credentials)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((rest.to_owned(), Credentials::Bearer));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (_, password) = decoded.split_once(':')?;
        return Some((password.to_owned(), Credentials::Basic));
    }
    None
}

fn denied(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .header(header::WWW_AUTHENTICATE, "Basic realm=\"Punctual\"")
        .header(header::WWW_AUTHENTICATE, "Bearer")
}
