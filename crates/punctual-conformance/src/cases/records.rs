//! The small documents and logs beside the jobs.

use punctual_core::store::{Expect, LogEntry, Record};
use serde_json::{Value, json};

use crate::trial::{Trial, Verdict};

/// A document is written only over what the writer expects, and counts its versions.
pub async fn documents_are_compared_and_set(trial: Trial) -> Verdict {
    let put = |value: Option<Value>, expect| {
        let put = trial.store.put_record("space", "key", value, expect);
        async { put.await.expect("the store works") }
    };
    let get = || {
        let found = trial.store.record("space", "key");
        async {
            found
                .await
                .expect("the store works")
                .map(|record| (record.value, record.version))
        }
    };
    assert_eq!(get().await, None);
    assert!(!put(Some(json!(0)), Expect::Version(1)).await);
    assert!(put(Some(json!({"a": [1, "ü"]})), Expect::Absent).await);
    assert!(!put(Some(json!(0)), Expect::Absent).await);
    assert_eq!(get().await, Some((json!({"a": [1, "ü"]}), 1)));
    assert!(put(Some(json!(2)), Expect::Version(1)).await);
    assert!(!put(Some(json!(0)), Expect::Version(1)).await);
    assert!(put(Some(json!(null)), Expect::Any).await);
    assert_eq!(get().await, Some((json!(null), 3)));
    assert!(!put(None, Expect::Version(2)).await);
    assert!(put(None, Expect::Version(3)).await);
    assert_eq!(get().await, None);
    assert!(
        put(None, Expect::Any).await,
        "what is gone may be deleted again"
    );
    assert!(put(None, Expect::Absent).await);
    Ok(())
}

/// Documents are listed by namespace, in the order of their keys, byte for byte.
pub async fn documents_are_listed_by_namespace(trial: Trial) -> Verdict {
    for (space, key) in [
        ("a", "y"),
        ("a", "X"),
        ("a", "é"),
        ("b", "x"),
        ("A", "z"),
        ("ab", "x"),
    ] {
        let put = trial
            .store
            .put_record(space, key, Some(json!(key)), Expect::Absent)
            .await;
        assert!(put.expect("the store works"));
    }
    let found = trial.store.records("a").await.expect("the store works");
    let expected = ["X", "y", "é"].map(|key| Record {
        key: key.to_owned(),
        value: json!(key),
        version: 1,
    });
    assert_eq!(found, expected);
    assert_eq!(
        trial.store.records("none").await.expect("the store works"),
        []
    );
    Ok(())
}

/// Of eight writers who each expect the same version one wins.
#[expect(clippy::unused_async, reason = "every case is")]
pub async fn one_of_many_writers_wins(trial: Trial) -> Verdict {
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let store = std::sync::Arc::clone(&trial.store);
            std::thread::spawn(move || {
                let put = store.put_record("space", "key", Some(json!(n)), Expect::Absent);
                async_io::block_on(put).expect("the store works")
            })
        })
        .collect();
    let won = threads
        .into_iter()
        .map(|thread| thread.join().expect("no writer panics"));
    assert_eq!(won.filter(|&won| won).count(), 1);
    Ok(())
}

/// Entries of a log keep their order and the time of the store; each log has its own positions.
pub async fn logs_go_on_from_a_position(trial: Trial) -> Verdict {
    let mut entries = Vec::new();
    for n in 0..4 {
        trial.go_to(n);
        let position = trial
            .store
            .append_log("audit", json!({"n": n}))
            .await
            .expect("the store works");
        entries.push(LogEntry {
            position,
            at: trial.at(n),
            value: json!({"n": n}),
        });
    }
    trial
        .store
        .append_log("other", json!(1))
        .await
        .expect("the store works");
    assert!(entries.is_sorted_by_key(|entry| entry.position));
    let read = |after, limit| {
        let read = trial.store.read_log("audit", after, limit);
        async { read.await.expect("the store works") }
    };
    assert_eq!(read(0, 10).await, entries);
    assert_eq!(read(0, 2).await, entries[..2]);
    assert_eq!(read(entries[1].position, 10).await, entries[2..]);
    assert_eq!(read(entries[3].position, 10).await, []);
    assert_eq!(
        trial
            .store
            .read_log("none", 0, 10)
            .await
            .expect("the store works"),
        []
    );
    Ok(())
}
