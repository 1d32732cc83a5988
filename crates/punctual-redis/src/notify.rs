//! Hearing of changes that other nodes make.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use punctual_backend::Changed;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{ErrorKind, RedisError};
use tokio::task::AbortHandle;

use crate::address::Address;

/// The waits between attempts to connect again.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(10);

/// A task that listens on a connection of its own.
#[derive(Debug)]
pub(crate) struct Listener(AbortHandle);

impl Listener {
    /// Subscribes, then goes on listening in the background.
    pub(crate) async fn start(
        address: Arc<Address>,
        channel: String,
        timeout: Duration,
        changed: Changed,
    ) -> Result<Self, RedisError> {
        let first = subscribe(&address, &channel, timeout).await?;
        let task = tokio::spawn(async move {
            let mut subscription = Some(first);
            let mut wait = BACKOFF_MIN;
            loop {
                if let Some((sink, stream)) = subscription.take() {
                    // Something may have been said while nobody listened.
                    changed.notify();
                    wait = BACKOFF_MIN;
                    listen(sink, stream, timeout, &changed).await;
                    tracing::debug!("the connection that hears of changes ended");
                }
                tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                wait = (wait * 2).min(BACKOFF_MAX);
                subscription = subscribe(&address, &channel, timeout).await.ok();
            }
        });
        Ok(Self(task.abort_handle()))
    }

    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn subscribe(
    address: &Address,
    channel: &str,
    timeout: Duration,
) -> Result<(PubSubSink, PubSubStream), RedisError> {
    let subscribing = async {
        let mut subscription = address.client().get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok(subscription.split())
    };
    let late = |_| Err(RedisError::from((ErrorKind::Io, "no answer in time")));
    tokio::time::timeout(timeout, subscribing)
        .await
        .unwrap_or_else(late)
}

/// Passes on what is said, until the connection ends.
async fn listen(
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    timeout: Duration,
    changed: &Changed,
) {
    loop {
        match tokio::time::timeout(PING, stream.next()).await {
            Ok(Some(_)) => changed.notify(),
            Ok(None) => return,
            Err(_) => {
                let pong = tokio::time::timeout(timeout, sink.ping::<redis::Value>());
                if !matches!(pong.await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
