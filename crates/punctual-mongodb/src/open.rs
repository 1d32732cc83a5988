//! Connecting: the address, the collections and their indexes, and whether the server keeps what the store promises.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use mongodb::options::{
    ClientOptions, IndexOptions, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database, IndexModel};
use punctual_backend::StoreOptions;
use punctual_core::clock::{Clock, SystemClock, until};
use punctual_core::store::{StoreError, StoreResult};

use crate::error::{DUPLICATE_KEY, store_error};
use crate::inner::{Inner, server_time};
use crate::log::{Log, insert_all};

/// The database, where the address names none.
const DATABASE: &str = "punctual";
/// The version of the collections that this program makes and reads.
const SCHEMA: i32 = 1;
/// `MongoDB` 4.2.
const WIRE_VERSION_MIN: i32 = 8;
/// How long a superseded decision stays, and how long there.
const KEPT: Duration = Duration::from_secs(30);
/// On a server that reads a whole collection for nearly every question, small collections count.
const KEPT_SHORT: Duration = Duration::from_secs(10);
/// Into how many collections decisions are spread there.
const SHARDS: usize = 16;
/// How far the clocks may be apart without a warning.
const OFFSET_MAX: Duration = Duration::from_secs(1);
/// How long somebody may take to make the collections before another does.
const LOCK_HELD: Duration = Duration::from_secs(30);

/// An error of the server or the driver while the store is opened.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn failed(error: mongodb::error::Error) -> StoreError {
    store_error(&error)
}

async fn client(url: &str, options: &StoreOptions) -> StoreResult<(Client, String)> {
    if url.starts_with("mongodb+srv:") {
        return Err(StoreError::failed(
            "mongodb+srv addresses are not resolved; write mongodb:// with the hosts, and ?tls=true",
        ));
    }
    let mut driver = ClientOptions::parse(url).await.map_err(|error| {
        StoreError::failed(format!(
            "the address of the MongoDB server is not understood: {}; write mongodb://USER:PASSWORD@HOST:PORT/DATABASE",
            without_password(&error.kind.to_string(), url)
        ))
    })?;
    let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
    match &driver.selection_criteria {
        None | Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)) => {}
        Some(_) => {
            return Err(StoreError::failed(
                "the address asks for a readPreference other than primary; a job store reads what was decided last, \
                 so leave it out",
            ));
        }
    }
    driver.selection_criteria = Some(primary);
    driver.write_concern = Some(
        WriteConcern::builder()
            .w(mongodb::options::Acknowledgment::Majority)
            .journal(true)
            .build(),
    );
    driver.app_name.get_or_insert_with(|| "punctual".to_owned());
    driver.max_pool_size = Some(options.connections);
    driver.server_selection_timeout = Some(options.timeout);
    driver.connect_timeout = Some(options.timeout);
    // An insert that is sent again is ours to recognise.
    driver.retry_writes = Some(false);
    let database = driver
        .default_database
        .clone()
        .unwrap_or_else(|| DATABASE.to_owned());
    Ok((Client::with_options(driver).map_err(failed)?, database))
}

/// What the driver says of an address, without the secret in it.
fn without_password(message: &str, url: &str) -> String {
    let password = url
        .split_once("//")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .and_then(|(user, _)| user.split_once(':'))
        .map(|(_, password)| password)
        .filter(|password| !password.is_empty());
    match password {
        Some(password) => message
            .replace(password, "***")
            .replace(url, "mongodb://***"),
        None => message.to_owned(),
    }
}

/// What kind of server answers.
struct Server {
    /// It is `FerretDB`.
    is_ferret: bool,
    version: String,
}

async fn recognise(db: &Database) -> StoreResult<Server> {
    let hello = db.run_command(doc! {"hello": 1}).await.map_err(failed)?;
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Err(StoreError::failed(
            "the MongoDB server is no primary, so nothing can be written there; name the primary, or all members and \
             replicaSet=NAME",
        ));
    }
    let wire = hello.get_i32("maxWireVersion").unwrap_or(0);
    if wire < WIRE_VERSION_MIN {
        return Err(StoreError::failed(format!(
            "the MongoDB server is too old (wire version {wire}); the job store needs MongoDB 4.2 or later"
        )));
    }
    let build = db
        .run_command(doc! {"buildInfo": 1})
        .await
        .map_err(failed)?;
    Ok(Server {
        is_ferret: build.contains_key("ferretdbVersion"),
        version: build.get_str("version").unwrap_or("unknown").to_owned(),
    })
}

/// An index of heads only, or of documents that have a field.
fn index(name: &str, keys: Document, only: Document) -> IndexModel {
    let options = IndexOptions::builder()
        .name(name.to_owned())
        .partial_filter_expression(only)
        .build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn plain(name: &str, keys: Document) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn decision_indexes() -> Vec<IndexModel> {
    let head = || doc! {"head": true};
    let with = |field: &str| doc! {"head": true, field: {"$exists": true}};
    vec![
        index("job", doc! {"job": 1, "v": 1}, head()),
        index(
            "wake",
            doc! {"executor": 1, "task": 1, "wake_at": 1, "job": 1},
            head(),
        ),
        index("listed", doc! {"listed_at": 1, "job": 1}, head()),
        index("live", doc! {"live_ids": 1}, with("live_ids")),
        index("owners", doc! {"owners": 1}, with("owners")),
        index("lease", doc! {"lease_until": 1}, with("lease_until")),
        index("gone", doc! {"gone_at": 1}, with("gone_at")),
        index("unwritten", doc! {"unwritten": 1}, doc! {"unwritten": true}),
        index("over", doc! {"over": 1}, doc! {"over": true}),
    ]
}

async fn make_indexes(inner: &Inner, server: &Server) -> StoreResult<()> {
    let unique = IndexOptions::builder()
        .name("attempt".to_owned())
        .unique(true)
        .build();
    let attempt = IndexModel::builder()
        .keys(doc! {"attempt": 1})
        .options(unique)
        .build();
    inner.runs.create_index(attempt).await.map_err(failed)?;
    if server.is_ferret {
        // It looks at no other, and knows no partial ones.
        return Ok(());
    }
    for shard in inner.log.shards() {
        shard
            .create_indexes(decision_indexes())
            .await
            .map_err(failed)?;
    }
    let rows = [
        plain("job", doc! {"job": 1, "_id": -1}),
        plain("crowd", doc! {"job": 1, "finished_at": -1, "_id": -1}),
        plain("state", doc! {"state": 1, "_id": -1}),
        plain("finished", doc! {"finished_at": 1, "state": 1}),
    ];
    inner.runs.create_indexes(rows).await.map_err(failed)?;
    let records = [
        plain("key", doc! {"namespace": 1, "key": 1, "n": 1}),
        index(
            "gone",
            doc! {"gone_at": 1},
            doc! {"gone_at": {"$exists": true}},
        ),
    ];
    inner
        .records
        .create_indexes(records)
        .await
        .map_err(failed)?;
    let log = plain("log", doc! {"log": 1, "n": 1});
    inner.logs.create_index(log).await.map_err(failed)?;
    Ok(())
}

/// The version that the collections have; `None` where there are none.
async fn schema(meta: &Collection<Document>) -> StoreResult<Option<i32>> {
    let found = meta
        .find_one(doc! {"_id": "schema"})
        .await
        .map_err(failed)?;
    Ok(found.map(|schema| schema.get_i32("version").unwrap_or(0)))
}

/// Makes the collections, or waits until who is at it has.
async fn migrate(meta: &Collection<Document>, inner: &Inner, server: &Server) -> StoreResult<()> {
    loop {
        match schema(meta).await? {
            Some(SCHEMA) => return Ok(()),
            Some(other) => {
                return Err(StoreError::failed(format!(
                    "the collections of the job store have version {other}; this program knows {SCHEMA}. Use a newer \
                     program, or another prefix"
                )));
            }
            None => {}
        }
        let now = server_time(&inner.db).await.map_err(plainly)?;
        let lock = doc! {"_id": "lock", "at": now.as_microsecond()};
        let refused = insert_all(meta, &[&lock]).await.map_err(failed)?;
        if refused.is_empty() {
            break;
        }
        let held = meta.find_one(doc! {"_id": "lock"}).await.map_err(failed)?;
        let since = held.and_then(|held| held.get_i64("at").ok());
        let since = since.and_then(|at| Timestamp::from_microsecond(at).ok());
        if since.is_some_and(|since| until(since, now) > LOCK_HELD) {
            // Its holder died. That two make the same indexes does no harm.
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    make_indexes(inner, server).await?;
    let schema = doc! {"_id": "schema", "version": SCHEMA};
    insert_all(meta, &[&schema]).await.map_err(failed)?;
    meta.delete_one(doc! {"_id": "lock"})
        .await
        .map_err(failed)?;
    Ok(())
}

fn plainly(error: punctual_backend::BackendError) -> StoreError {
    match error {
        punctual_backend::BackendError::Store(error) => error,
        punctual_backend::BackendError::Again(why) => StoreError::unavailable(why),
    }
}

/// Everything rests on this: of two who insert the same `_id` at once, one is refused.
async fn test_inserts(tests: &Collection<Document>) -> StoreResult<()> {
    let id = format!("{:032x}", fastrand::u128(..));
    let insert = || tests.insert_one(doc! {"_id": &id}).into_future();
    let (one, other) = futures_util::join!(insert(), insert());
    let refused = |result: &mongodb::error::Result<_>| match result {
        Ok(_) => Ok(false),
        Err(error) if is_duplicate(error) => Ok(true),
        Err(error) => Err(store_error(error)),
    };
    let verdict = (refused(&one)?, refused(&other)?);
    tests.delete_one(doc! {"_id": &id}).await.map_err(failed)?;
    if verdict.0 == verdict.1 {
        return Err(StoreError::failed(
            "the MongoDB server does not keep `_id` unique: of two inserts at once not exactly one was refused. \
             A job store needs that",
        ));
    }
    Ok(())
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    use mongodb::error::{ErrorKind, WriteFailure};
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == DUPLICATE_KEY,
        ErrorKind::Command(command) => command.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// How far the server's clock is from this machine's.
async fn measure_offset(db: &Database) -> StoreResult<()> {
    let before = SystemClock.now();
    let theirs = server_time(db).await.map_err(plainly)?;
    let took = until(before, SystemClock.now());
    let ours = punctual_core::clock::later(before, took / 2);
    let offset = until(ours, theirs).max(until(theirs, ours));
    let ahead = if theirs > ours { "ahead" } else { "behind" };
    if offset > OFFSET_MAX {
        tracing::warn!(
            ?offset,
            "the clock of the MongoDB server is {ahead}; its time counts"
        );
    } else {
        tracing::info!(
            ?offset,
            "the clock of the MongoDB server is {ahead}; its time counts"
        );
    }
    Ok(())
}

pub(crate) async fn open(url: &str, options: &StoreOptions) -> StoreResult<Inner> {
    let (client, database) = client(url, options).await?;
    let db = client.database(&database);
    let server = recognise(&db).await?;
    let collection = |name: &str| db.collection::<Document>(&format!("{}{name}", options.prefix));
    let shards = if server.is_ferret {
        (0..SHARDS)
            .map(|shard| collection(&format!("decisions_{shard}")))
            .collect()
    } else {
        vec![collection("decisions")]
    };
    let inner = Inner {
        log: Log::new(shards),
        known: server.is_ferret.then(|| collection("known")),
        runs: collection("runs"),
        records: collection("records"),
        logs: collection("log"),
        fences: collection("fences"),
        clock: options.clock.as_ref().map(Arc::clone),
        kept: if server.is_ferret { KEPT_SHORT } else { KEPT },
        hints: Mutex::new(HashMap::new()),
        floor: AtomicU64::new(0),
        client,
        db: db.clone(),
    };
    test_inserts(&collection("selftest")).await?;
    migrate(&collection("meta"), &inner, &server).await?;
    if inner.clock.is_none() {
        measure_offset(&db).await?;
    }
    if server.is_ferret {
        tracing::info!(
            "the server is FerretDB: it reads whole collections for most questions, so it suits hundreds of jobs; \
             writeConcern and journal are what its own database makes of them"
        );
    } else {
        tracing::debug!(version = %server.version, "the MongoDB server is a primary and keeps `_id` unique");
    }
    Ok(inner)
}
