//! The receiver: an HTTP server that notes every request of the jobs, and answers well, slowly or badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use punctual_core::clock::{Clock, SystemClock};
use tokio::net::TcpListener;

use super::history::{Micros, Request};
use crate::exit::{Failure, Outcome};

/// How a receiver answers a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Within 30 ms, well.
    Quick,
    /// Within 30 ms, three times in ten with 503.
    Flaky,
    /// Within 1.5 s.
    Slow,
    /// In 2 to 4.5 s: longer than a short lease.
    Long,
}

impl Manner {
    const ALL: [(&'static str, Self); 4] = [
        ("quick", Self::Quick),
        ("flaky", Self::Flaky),
        ("slow", Self::Slow),
        ("long", Self::Long),
    ];

    /// The word for it in a path.
    pub(crate) fn word(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, manner)| *manner == self);
        known.map_or("quick", |(word, _)| word)
    }

    fn answer(self, rng: &mut fastrand::Rng) -> (Duration, StatusCode) {
        let (from, to) = match self {
            Self::Quick | Self::Flaky => (0, 30),
            Self::Slow => (100, 1500),
            Self::Long => (2000, 4500),
        };
        let status = if self == Self::Flaky && rng.u8(0..10) < 3 {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        (Duration::from_millis(rng.u64(from..=to)), status)
    }
}

/// What was received so far.
#[derive(Debug)]
pub(crate) struct Receiver {
    seen: Mutex<Vec<Request>>,
    rng: Mutex<fastrand::Rng>,
    address: SocketAddr,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Micros {
    SystemClock.now().as_microsecond()
}

impl Receiver {
    /// Listens on a free port of this machine.
    pub(crate) async fn listen(seed: u64) -> Outcome<Arc<Self>> {
        let failed = |error| Failure::plain(format!("the receiver cannot listen: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let receiver = Arc::new(Self {
            seen: Mutex::default(),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            address: listener.local_addr().map_err(failed)?,
        });
        let app = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(receiver)
    }

    /// Where a job finds it.
    pub(crate) fn url(&self, job: &str, manner: Manner) -> String {
        format!("http://{}/{}/{job}", self.address, manner.word())
    }

    /// Every request so far. Those that are still being answered end now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }
}

/// A request that is being answered; when it is dropped the sender has hung up, or has its answer.
struct Answering {
    receiver: Arc<Receiver>,
    index: usize,
    status: Option<u16>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut seen = lock(&self.receiver.seen);
        let request = &mut seen[self.index];
        request.ended = now();
        request.status = self.status;
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    uri: Uri,
    headers: HeaderMap,
) -> StatusCode {
    let began = now();
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (word, job) = uri
        .path()
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or(("quick", "unknown"));
    let manner = Manner::ALL.iter().find(|(known, _)| *known == word);
    let manner = manner.map_or(Manner::Quick, |&(_, manner)| manner);
    let index = {
        let mut seen = lock(&receiver.seen);
        seen.push(Request {
            job: job.to_owned(),
            key: header("idempotency-key"),
            fence: header("punctual-fence").parse().unwrap_or(0),
            began,
            ended: Micros::MAX,
            status: None,
        });
        seen.len() - 1
    };
    let mut answering = Answering {
        receiver: Arc::clone(&receiver),
        index,
        status: None,
    };
    let (wait, status) = manner.answer(&mut lock(&receiver.rng));
    tokio::time::sleep(wait).await;
    answering.status = Some(status.as_u16());
    status
}
