//! Opening the job store, however long it takes to answer.

use std::sync::Arc;
use std::time::Duration;

use punctual::address::{StoreAddress, StoreKind};
use punctual::{OpenOptions, open_store};
use punctual_core::store::{JobStore, StoreError};
use punctual_server::Gate;

use crate::exit::{Failure, Outcome};

/// How long one attempt to open a store may take: it may have tables to bring up to date.
const OPEN_DEADLINE: Duration = Duration::from_mins(1);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Tries once.
async fn open_once(
    store: &StoreAddress,
    options: OpenOptions,
) -> Result<Arc<dyn JobStore>, StoreError> {
    if store.kind() != StoreKind::Sqlite {
        return open_store(store, options).await;
    }
    // It waits for locks of the file, and HTTP goes on meanwhile.
    let (store, runtime) = (store.clone(), tokio::runtime::Handle::current());
    let opening =
        tokio::task::spawn_blocking(move || runtime.block_on(open_store(&store, options)));
    opening.await.map_err(StoreError::failed)?
}

/// How long to wait after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
    doubled.map_or(RETRY_MAX, |factor| (RETRY_FIRST * factor).min(RETRY_MAX))
}

/// Opens the store and asks `then` of it, again and again while it is away; the gate and the log tell about it.
///
/// # Errors
///
/// Where the store refuses: trying again would not help.
pub(crate) async fn open<T>(
    store: &StoreAddress,
    options: &OpenOptions,
    gate: &Gate,
    then: impl AsyncFn(Arc<dyn JobStore>) -> Result<T, StoreError>,
) -> Outcome<(Arc<dyn JobStore>, T)> {
    let mut failures = 0;
    loop {
        let attempt = async {
            let opened = open_once(store, options.clone()).await?;
            let answer = then(Arc::clone(&opened)).await?;
            Ok((opened, answer))
        };
        let deadline = tokio::time::timeout(OPEN_DEADLINE, attempt).await;
        let error = match deadline {
            Ok(Ok(opened)) => {
                if failures > 0 {
                    tracing::info!(%store, "the job store answers");
                }
                return Ok(opened);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                StoreError::unavailable(format!("no answer within {} s", OPEN_DEADLINE.as_secs()))
            }
        };
        if !error.is_retryable() {
            return Err(Failure::plain(format!(
                "the store {store} cannot be opened: {error}"
            )));
        }
        failures += 1;
        let pause = pause_after(failures);
        let seconds = pause.as_secs();
        tracing::warn!(%store, %error, "the job store cannot be opened; trying again in {seconds} s");
        let times = if failures == 1 { "time" } else { "times" };
        gate.waits(
            format!(
                "the job store is unavailable; tried {failures} {times}, and again in {seconds} s"
            ),
            pause,
        );
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses = [1, 2, 3, 4, 5, 6, 100].map(|failures| pause_after(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15, 15]);
    }
}
