//! Whatever a client sends, it is never the server's fault: no 500, and every answer is JSON.

use serde_json::{Value, json};

use crate::support::api;

const FIELDS: &[&str] = &[
    "id",
    "name",
    "func",
    "task",
    "args",
    "kwargs",
    "trigger",
    "executor",
    "jobstore",
    "tags",
    "max_instances",
    "coalesce",
    "misfire_grace_time",
    "overlap",
    "retry",
    "timeout",
    "on_crash",
    "next_run_time",
    "replace_existing",
    "paused",
    "allow_unknown_task",
    "run_date",
    "weeks",
    "seconds",
    "year",
    "day_of_week",
    "hour",
    "expr",
    "dialect",
    "triggers",
    "start_date",
    "end_date",
    "timezone",
    "dst",
    "jitter",
    "now",
    "n",
    "wait",
    "by",
    "until",
    "revision",
    "\u{0}",
    "",
    "__proto__",
];

fn values() -> Vec<Value> {
    let mut deep = json!({"type": "and", "triggers": []});
    for _ in 0..40 {
        deep = json!({"type": "and", "triggers": [deep]});
    }
    vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e308),
        json!(-1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("\u{0}"),
        json!("cron"),
        json!("interval"),
        json!("date"),
        json!("x".repeat(5000)),
        json!("🦀\u{202e}"),
        json!("9999-12-31 23:59:59"),
        json!("0001-01-01"),
        json!("2026-02-30"),
        json!("-9999-01-01"),
        json!("2020-01-01T00:00:60Z"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"type": "cron"}),
        json!({"type": "interval", "seconds": 1e-300}),
        json!({"type": null}),
        json!({"gap": 1}),
        json!({"attempts": 1e10}),
        json!([null, 1, "a", {}]),
        deep,
    ]
}

#[tokio::test]
async fn odd_values_in_every_field() {
    let api = api().await;
    let base =
        json!({"id": "victim", "func": "log", "args": ["x"], "trigger": "interval", "hours": 1});
    api.post("/scheduler/jobs", base.clone()).await;
    for field in FIELDS {
        for value in values() {
            for (method, path, base) in [
                ("POST", "/scheduler/jobs", base.clone()),
                (
                    "PATCH",
                    "/scheduler/jobs/victim",
                    json!({"trigger": "cron"}),
                ),
                ("PATCH", "/scheduler/jobs/victim", json!({})),
                (
                    "POST",
                    "/scheduler/triggers/next",
                    json!({"trigger": "cron", "hour": 1}),
                ),
                ("POST", "/scheduler/jobs/victim/pause", json!({})),
            ] {
                let mut body = base;
                body[*field] = value.clone();
                let answer = api.ask(method, path, body.clone()).await;
                let shown = body.to_string();
                assert!(
                    matches!(answer.status.as_u16(), 200 | 204 | 404 | 409 | 422),
                    "{method} {path} {}: {} {}",
                    &shown[..shown.len().min(300)],
                    answer.status,
                    answer.body
                );
            }
        }
    }
    let list = api.get("/scheduler/jobs").await;
    assert_eq!(list.status, 200);
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let api = api().await;
    let deep = "[".repeat(100_000);
    let nested = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
    for body in [
        &b"\xff\xfe"[..],
        b"{\"id\": \"\xff\"}",
        b"\0",
        b"{\"id\": \"a\0b\"}",
        b"nul",
        b"{\"a\": 1e999}",
        b"{\"a\": 1,}",
        b"{} {}",
        deep.as_bytes(),
        nested.as_bytes(),
        b"\xef\xbb\xbf{}",
        b"id=a&func=log",
    ] {
        for path in [
            "/scheduler/jobs",
            "/scheduler/triggers/next",
            "/scheduler/shutdown",
        ] {
            let answer = api.raw("POST", path, body.to_vec()).await;
            assert_eq!(
                answer.status,
                400,
                "{path} {:?}: {}",
                String::from_utf8_lossy(&body[..body.len().min(40)]),
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn odd_paths_and_queries() {
    let api = api().await;
    for path in [
        "/",
        "//",
        "/scheduler//",
        "/scheduler/jobs//",
        "/scheduler/jobs/%00",
        "/scheduler/jobs/%",
        "/scheduler/jobs/%f",
        "/scheduler/jobs/%ff%fe",
        "/scheduler/jobs/%C3%28",
        "/scheduler/runs/%2e%2e",
        "/scheduler/jobs/a?b=%zz",
        "/scheduler/jobs?text=%00",
        "/scheduler/jobs?tag=&tag=x&paused=",
        "/scheduler/jobs?cursor=0.&limit=1",
        "/scheduler/jobs?cursor=9999999999999999999999.x",
        "/scheduler/runs?from=x",
        "/scheduler/runs?until=9999-12-31",
        "/scheduler/runs?from=0001-01-01",
        "/scheduler/runs?job_id=",
        "/scheduler/runs?limit=-1",
        "/scheduler/jobs?&&=&",
        "/scheduler/jobs?limit=99999999999999999999",
        "/scheduler/../etc/passwd",
        "/scheduler/jobs/x/runs?state=%20",
    ] {
        for method in ["GET", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = api.raw(method, path, "{}").await;
            assert!(
                !answer.status.is_server_error(),
                "{method} {path}: {} {}",
                answer.status,
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn seeded_bytes() {
    let api = api().await;
    let seed = br#"{"id":"a","func":"log","kwargs":{"message":"x"},"trigger":"cron","hour":"9","retry":{"attempts":3}}"#;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..3000 {
        let mut body = seed.to_vec();
        for _ in 0..=random(4) {
            let at = random(body.len());
            match random(3) {
                0 => body[at] = random(256) as u8,
                1 => body.truncate(at.max(1)),
                _ => body.insert(at, b"\"{}[],:0-9e\\\0"[random(13)]),
            }
        }
        let answer = api.raw("POST", "/scheduler/jobs", body.clone()).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 400 | 409 | 422),
            "{}: {}",
            String::from_utf8_lossy(&body),
            answer.body
        );
    }
}
