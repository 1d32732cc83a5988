//! Opening: what the server is asked before anything is entrusted to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use punctual_backend::{BackendError, BackendResult, Changed, StoreOptions};
use punctual_core::clock::{Clock, SystemClock};
use punctual_core::store::{StoreError, StoreResult};
use redis::Value;

use crate::address::Address;
use crate::backend::Redis;
use crate::connection::{Connections, Repeat};
use crate::documents::Documents;
use crate::error::store_error;
use crate::keys;
use crate::notify::Listener;
use crate::script;
use crate::value;

/// The version of the keys that this program reads and writes.
const SCHEMA: u64 = 1;
/// The oldest Redis: `ZMSCORE` is of 6.2.
const OLDEST: (u32, u32) = (6, 2);
/// How long a lock over migrations outlives whoever holds it.
const LOCK: Duration = Duration::from_secs(30);
/// A clock that is further off is worth a warning.
const OFFSET_MAX: Duration = Duration::from_secs(1);

/// Connects, tests the server, brings the keys up to date and begins to listen.
pub(crate) async fn connect(
    address: Address,
    options: StoreOptions,
    changed: Changed,
) -> StoreResult<Redis> {
    let shown = address.to_string();
    open(address, options, changed)
        .await
        .map_err(|error| at_address(&shown, error))
}

async fn open(address: Address, options: StoreOptions, changed: Changed) -> BackendResult<Redis> {
    let base = keys::base(&options.prefix);
    let channel = keys::channel(&base, address.database);
    let address = Arc::new(address);
    // One more listens.
    let count = options.connections.saturating_sub(1);
    let connections = Connections::new(Arc::clone(&address), base, count, options.timeout);
    check_server(&connections).await?;
    check_scripts(&connections).await?;
    if options.clock.is_none() {
        measure_offset(&connections, &address).await?;
    }
    migrate(&connections, options.timeout).await?;
    let listener = Listener::start(address, channel.clone(), options.timeout, changed)
        .await
        .map_err(|error| BackendError::Store(store_error(&error)))?;
    Ok(Redis {
        connections,
        clock: options.clock,
        channel,
        listener,
        documents: Mutex::new(Documents::new(options.definitions_cached)),
    })
}

/// The error with the server's name in it.
fn at_address(shown: &str, error: BackendError) -> StoreError {
    match error {
        BackendError::Again(message) | BackendError::Store(StoreError::Unavailable { message }) => {
            StoreError::unavailable(format!("Redis at {shown}: {message}"))
        }
        BackendError::Store(StoreError::Failed { message }) => {
            StoreError::failed(format!("Redis at {shown}: {message}"))
        }
        BackendError::Store(other) => other,
    }
}

/// What `INFO` says: names and values.
type Info = HashMap<String, String>;

fn read_info(text: &str) -> Info {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

async fn check_server(connections: &Connections) -> BackendResult<()> {
    let info = connections.ask("INFO").await.and_then(value::text)?;
    let info = read_info(&info.unwrap_or_default());
    let policy = match info.get("maxmemory_policy") {
        Some(policy) => Some(policy.clone()),
        None => configured_policy(connections).await,
    };
    judge(&info, policy.as_deref())?;
    if policy.is_none() {
        tracing::warn!(
            "the Redis server does not tell its maxmemory-policy; anything but noeviction loses jobs when it is full"
        );
    }
    if info
        .get("aof_enabled")
        .is_some_and(|enabled| enabled == "0")
    {
        tracing::warn!(
            "the Redis server keeps no append-only file: when it ends, what was written since its last snapshot is lost: \
             jobs added or changed since then, and decisions, whose runs may start again; set appendonly yes"
        );
    }
    Ok(())
}

async fn configured_policy(connections: &Connections) -> Option<String> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("maxmemory-policy");
    let answer = connections.command(&command, Repeat::Once).await.ok()?;
    value::texts(answer).ok()?.pop().flatten()
}

/// Refuses a server that cannot keep what the store promises.
fn judge(info: &Info, policy: Option<&str>) -> StoreResult<()> {
    let is_valkey = info.contains_key("valkey_version");
    let version = info.get("redis_version").map_or("", String::as_str);
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if !is_valkey && number < OLDEST {
        return Err(StoreError::failed(format!(
            "the server is version {version:?}; the store needs Redis {}.{} or later, or Valkey: upgrade the server",
            OLDEST.0, OLDEST.1
        )));
    }
    if info
        .get("cluster_enabled")
        .is_some_and(|enabled| enabled == "1")
    {
        return Err(StoreError::failed(
            "the server is part of a cluster (cluster_enabled:1), whose redirections the store does not follow; give it a \
             server of its own, with replicas and Sentinel if need be",
        ));
    }
    if let Some(role) = info.get("role").filter(|role| *role != "master") {
        return Err(StoreError::failed(format!(
            "the server is a replica (role:{role}), which takes no changes; give the address of its primary"
        )));
    }
    if let Some(policy) = policy.filter(|policy| *policy != "noeviction") {
        return Err(StoreError::failed(format!(
            "maxmemory-policy is {policy}: a full server would throw jobs and runs away; set it to noeviction, or use a server \
             that is no cache"
        )));
    }
    Ok(())
}

/// Proves that scripts are allowed, and that of two which compare and set the same thing one wins.
async fn check_scripts(connections: &Connections) -> BackendResult<()> {
    let name = format!("{:016x}", fastrand::u64(..));
    let step = |expected: u32| {
        let mut command = connections.call(&script::SELF_TEST);
        command.arg(&name).arg(expected);
        connections.run(&script::SELF_TEST, command, Repeat::Never)
    };
    let mut won = Vec::new();
    for answers in [
        join_all([step(0), step(0)]).await,
        join_all([step(1), step(0)]).await,
    ] {
        for answer in answers {
            won.push(value::number(answer?)?);
        }
    }
    if won[0] + won[1] == 1 && won[2..] == [1, 0] {
        return Ok(());
    }
    Err(StoreError::failed(format!(
        "scripts that compare and set do not exclude each other here ({won:?}); the store needs a real Redis or Valkey"
    ))
    .into())
}

/// How far the server's clock is from this machine's: jobs go by the server's.
async fn measure_offset(connections: &Connections, address: &Address) -> BackendResult<()> {
    let before = SystemClock.now();
    let [seconds, micros] = connections.ask("TIME").await.and_then(value::parts)?;
    let after = SystemClock.now();
    let there = value::number(seconds)? * 1_000_000 + value::number(micros)?;
    let here = i64::midpoint(before.as_microsecond(), after.as_microsecond());
    let offset_ms = (there - here) / 1000;
    if Duration::from_millis(offset_ms.unsigned_abs()) > OFFSET_MAX {
        tracing::warn!(server = %address, offset_ms, "the clocks of this machine and the Redis server differ; jobs run by the server's");
    } else {
        tracing::info!(server = %address, offset_ms, "clock offset to the Redis server");
    }
    Ok(())
}

/// Brings the keys to [`SCHEMA`], one node at a time.
async fn migrate(connections: &Connections, timeout: Duration) -> BackendResult<()> {
    let token = format!("{:016x}", fastrand::u64(..));
    let deadline = SystemClock.monotonic() + timeout;
    loop {
        match stored_schema(connections).await? {
            Some(SCHEMA) => return Ok(()),
            Some(newer) if newer > SCHEMA => {
                return Err(StoreError::failed(format!(
                    "its keys are version {newer}, written by a newer Punctual; this one knows up to {SCHEMA}: upgrade \
                     Punctual, or restore a backup from before its upgrade"
                ))
                .into());
            }
            _ => {}
        }
        let mut lock = redis::cmd("SET");
        lock.arg(format!("{}schema:lock", connections.base))
            .arg(&token)
            .arg("NX")
            .arg("PX")
            .arg(LOCK.as_millis() as u64);
        if connections.command(&lock, Repeat::Never).await? != Value::Nil {
            break;
        }
        if SystemClock.monotonic() > deadline {
            return Err(StoreError::unavailable(
                "another node has been bringing the keys up to date for too long; its lock ends within 30 s",
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The first version has nothing to bring up to date. Another may have been faster than the lock.
    let mut set = redis::cmd("SET");
    set.arg(format!("{}schema", connections.base))
        .arg(SCHEMA)
        .arg("NX");
    connections.command(&set, Repeat::Once).await?;
    let mut unlock = connections.call(&script::UNLOCK);
    unlock.arg(&token);
    connections
        .run(&script::UNLOCK, unlock, Repeat::Once)
        .await?;
    match stored_schema(connections).await? {
        Some(SCHEMA) => Ok(()),
        other => Err(StoreError::failed(format!(
            "the version of its keys is {other:?}, which no Punctual wrote"
        ))
        .into()),
    }
}

async fn stored_schema(connections: &Connections) -> BackendResult<Option<u64>> {
    let mut get = redis::cmd("GET");
    get.arg(format!("{}schema", connections.base));
    let stored = value::text(connections.command(&get, Repeat::Once).await?)?;
    Ok(stored.map(|stored| stored.parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Info {
        read_info(&text.replace(' ', "\r\n"))
    }

    #[test]
    fn servers_are_judged() {
        let good = "redis_version:6.2.0 role:master cluster_enabled:0";
        for text in [
            good,
            "redis_version:7.0.15 role:master",
            "redis_version:6.0.0 valkey_version:8.1.0 role:master",
        ] {
            assert!(judge(&info(text), Some("noeviction")).is_ok(), "{text}");
            assert!(judge(&info(text), None).is_ok(), "{text}");
        }
        for (text, policy, word) in [
            ("redis_version:6.0.16 role:master", "noeviction", "upgrade"),
            ("", "noeviction", "6.2"),
            ("redis_version:7.2.0 role:slave", "noeviction", "primary"),
            (
                "redis_version:7.2.0 role:master cluster_enabled:1",
                "noeviction",
                "cluster",
            ),
            (good, "allkeys-lru", "noeviction"),
            (good, "volatile-ttl", "noeviction"),
        ] {
            let error = judge(&info(text), Some(policy)).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
