//! What a store makes sure of when it opens, and would rather not open without.

use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use punctual_core::store::StoreError;

use super::backend::SqlBackend;
use super::cell::Cell;
use super::dialect::{Dialect, Raise};
use super::link::{Link, Links};

/// The name in `meta` of the row that is locked to see whether it is.
const PROBE: &str = "probe";
/// An offset that is worth a warning.
const OFFSET_MAX: Duration = Duration::from_secs(1);

/// Refuses a server that is too old, a replica, or set up to lose what it acknowledged.
pub(super) async fn server<D: Dialect>(links: &Links<D>, prefix: &str) -> Result<(), StoreError> {
    let mut link = links.link().await?;
    let dialect = links.dialect();
    dialect
        .examine(&mut link, prefix)
        .await
        .map_err(|error| match error {
            StoreError::Failed { message } => {
                StoreError::failed(format!("{}: {message}", dialect.address()))
            }
            other => other,
        })
}

/// Locks a row over one connection and looks at it over another: it must be skipped while it is locked, and a change must
/// be seen within a transaction that had looked before.
pub(super) async fn locking<D: Dialect>(backend: &SqlBackend<D>) -> Result<(), StoreError> {
    let address = backend.links.dialect().address();
    let refuse = |why: &str| {
        Err(StoreError::failed(format!(
            "{address}: {why}; decisions could be made twice, so the job store does not open"
        )))
    };
    let touch = || D::raise_meta(&backend.prefix, PROBE, 1, Raise::By);
    backend.links.execute(touch()).await?;
    let look = |suffix: &str| {
        let sql = backend.sql("SELECT value FROM @meta WHERE name = ");
        sql.name(PROBE).add(suffix).done()
    };
    let mut one = backend.links.link().await?;
    one.begin().await?;
    let before = value(&mut one, look("")).await?;
    backend.links.execute(touch()).await?;
    if value(&mut one, look("")).await? <= before {
        return refuse(
            "a transaction does not see what others commit: the isolation is not READ COMMITTED",
        );
    }
    if value(&mut one, look(" FOR UPDATE")).await?.is_none() {
        return refuse("a row cannot be locked");
    }
    let mut two = backend.links.link().await?;
    two.begin().await?;
    if value(&mut two, look(" FOR UPDATE SKIP LOCKED"))
        .await?
        .is_some()
    {
        return refuse("a row that one connection holds is given to another: locks do not lock");
    }
    Ok(())
}

async fn value<D: Dialect>(
    link: &mut Link<D>,
    statement: super::statement::Statement,
) -> Result<Option<i64>, StoreError> {
    let answer = link.run(statement).await?;
    let value = answer.one().map(Cell::int).transpose();
    value.map_err(StoreError::failed)
}

/// Says how far the server's clock is from that of this machine. Nothing depends on it: due times and leases are the
/// server's.
pub(super) async fn offset<D: Dialect>(backend: &SqlBackend<D>) -> Result<(), StoreError> {
    // The first answer may have waited for a connection.
    backend.time().await?;
    let before = SystemClock.now();
    let server = backend.time().await?;
    let after = SystemClock.now();
    let middle = before.as_microsecond().midpoint(after.as_microsecond());
    let micros = server.as_microsecond() - middle;
    let offset = Duration::from_micros(micros.unsigned_abs());
    let direction = if micros < 0 { "behind" } else { "ahead" };
    let (name, shown) = (D::NAME, rounded(offset));
    if offset > OFFSET_MAX {
        tracing::warn!(
            store = name,
            "the server's clock is {shown:?} {direction} of this machine's; jobs run by the server's: have both set by NTP"
        );
    } else {
        tracing::info!(
            store = name,
            "the server's clock is {shown:?} {direction} of this machine's"
        );
    }
    Ok(())
}

/// To a tenth of a millisecond, which is about what the way to the server lets one know.
fn rounded(offset: Duration) -> Duration {
    Duration::from_micros(offset.as_micros() as u64 / 100 * 100)
}
