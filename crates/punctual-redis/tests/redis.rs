//! The Redis store runs the suite of all job stores, and the tests that only a server of its kind can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis as client;
use punctual_conformance::{FreshStore, Place};
use punctual_core::clock::SimClock;
use punctual_core::id::JobId;
use punctual_core::store::{BoxFuture, JobStore, StoreResult};
use punctual_redis::{RedisStore, StoreOptions};

/// A prefix of its own on the server that tests may use.
struct Fresh;

/// A prefix; its keys go with it.
struct Prefix {
    url: String,
    prefix: String,
}

fn url() -> Option<String> {
    punctual_conformance::server_url("REDIS")
}

impl Prefix {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self {
            url: url().expect("asked before"),
            prefix: format!("test_{}_{number}_", std::process::id()),
        }
    }

    /// A connection beside the store's.
    fn connection(&self) -> client::Connection {
        let client = client::Client::open(self.url.as_str());
        client.unwrap().get_connection().unwrap()
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // What a failed test leaves is there to be looked at.
        if std::thread::panicking() {
            return;
        }
        let mut connection = self.connection();
        let pattern = self.key("*");
        let keys: Vec<Vec<u8>> = client::cmd("KEYS")
            .arg(pattern)
            .query(&mut connection)
            .unwrap();
        if !keys.is_empty() {
            let () = client::cmd("UNLINK")
                .arg(keys)
                .query(&mut connection)
                .unwrap();
        }
    }
}

impl FreshStore for Fresh {
    fn fresh(&self) -> Box<dyn Place> {
        Box::new(Prefix::new())
    }

    fn missing(&self) -> Option<String> {
        url().is_none().then(|| "Redis".to_owned())
    }
}

impl Place for Prefix {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        let options = StoreOptions::default()
            .prefix(&self.prefix)
            .clock(Arc::new(clock.clone()));
        Box::pin(async move {
            let store = RedisStore::open(&self.url, options).await?;
            Ok(Arc::new(store) as Arc<dyn JobStore>)
        })
    }

    /// The definition is another program's, the revision has gone up.
    fn corrupt(&self, id: &JobId) -> bool {
        let mut connection = self.connection();
        let state: Option<Vec<u8>> = client::cmd("HGET")
            .arg(self.key("state"))
            .arg(id.as_str())
            .query(&mut connection)
            .unwrap();
        let Some(state) = state else { return false };
        let is_json = |at: &usize| {
            state[*at] == b'{' && serde_json::from_slice::<serde_json::Value>(&state[*at..]).is_ok()
        };
        let json_at = (0..state.len()).find(is_json);
        let json_at = json_at.expect("the state ends with JSON");
        let (head, json) = state.split_at(json_at);
        let mut json: serde_json::Value = serde_json::from_slice(json).unwrap();
        json["revision"] = (json["revision"].as_u64().unwrap() + 1).into();
        let (version, rest) = head.split_at(head.iter().position(|&byte| byte == b' ').unwrap());
        let version: u64 = std::str::from_utf8(version).unwrap().parse().unwrap();
        let state = [
            (version + 1).to_string().as_bytes(),
            rest,
            json.to_string().as_bytes(),
        ]
        .concat();
        for (key, value) in [
            ("state", state),
            ("definitions", br#"{"version":99}"#.to_vec()),
        ] {
            let () = client::cmd("HSET")
                .arg(self.key(key))
                .arg(id.as_str())
                .arg(value)
                .query(&mut connection)
                .unwrap();
        }
        true
    }
}

mod redis {
    use super::Fresh;

    punctual_conformance::job_store_suite!(Fresh);

    mod own;
    mod server;
}
