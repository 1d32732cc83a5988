//! The tasks `http` and `command`, against a server on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::{any, get};
use punctual_server::tasks::TaskOptions;
use serde_json::json;

use crate::support::{api, api_with};

const ALL: TaskOptions = TaskOptions {
    allow_command: true,
    allow_private_http: true,
    supervisor: None,
};

/// A server that echoes and redirects, and how often it was asked.
async fn target() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let echo = move |headers: HeaderMap, body: String| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            format!(
                "{}|{}|{body}",
                headers["punctual-fence"].to_str().unwrap(),
                headers["idempotency-key"].to_str().unwrap()
            )
        }
    };
    let app = Router::new()
        .route("/echo", any(echo))
        .route("/404", get(async || StatusCode::NOT_FOUND))
        .route("/hop", any(async || Redirect::temporary("/echo")))
        .route("/loop", any(async || Redirect::temporary("/loop")))
        .route(
            "/file",
            any(async || Redirect::temporary("file:///etc/passwd")),
        )
        .route(
            "/slow",
            any(async || tokio::time::sleep(std::time::Duration::from_mins(1)).await),
        );
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_sends_once_and_records_the_answer() {
    let (base, asked) = target().await;
    let api = api_with(ALL).await;
    for (kwargs, state, word) in [
        (
            json!({"url": "/echo", "method": "POST", "body": {"a": 1}}),
            "succeeded",
            "{\"a\":1}",
        ),
        (
            json!({"url": "/echo", "method": "POST", "body": "text"}),
            "succeeded",
            "|",
        ),
        (json!({"url": "/hop"}), "succeeded", "|"),
        (
            json!({"url": "/hop", "method": "POST"}),
            "failed",
            "not sent twice",
        ),
        (
            json!({"url": "/hop", "expected_status": 307}),
            "succeeded",
            "",
        ),
        (json!({"url": "/loop"}), "failed", "more than 5 redirects"),
        (json!({"url": "/file"}), "failed", "not a URL"),
        (json!({"url": "/404"}), "failed", "404"),
        (
            json!({"url": "/404", "expected_status": [404, "5xx"]}),
            "succeeded",
            "",
        ),
        (
            json!({"url": "/slow", "timeout": 0.1}),
            "timed_out",
            "0.1 s",
        ),
    ] {
        let mut kwargs = kwargs;
        kwargs["url"] = format!("{base}{}", kwargs["url"].as_str().unwrap()).into();
        let run = api.run_once("http", kwargs.clone()).await;
        assert_eq!(run["state"], state, "{kwargs}: {run}");
        let said = format!(
            "{}{}",
            run["output"].as_str().unwrap_or_default(),
            run["error"].as_str().unwrap_or_default()
        );
        assert!(said.contains(word), "{kwargs}: {said}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let run = api
        .run_once("http", json!({"url": format!("{base}/echo")}))
        .await;
    let key = run["idempotency_key"].as_str().unwrap();
    assert_eq!(run["output"], format!("{}|{key}|", run["fence"]));
}

#[tokio::test]
async fn private_addresses_are_out_of_reach_however_they_are_spelled() {
    let (base, asked) = target().await;
    let api = api().await;
    let port = base.rsplit(':').next().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        let url = format!("http://{host}:{port}/echo");
        let run = api
            .run_once("http", json!({"url": url, "timeout": 5}))
            .await;
        assert_eq!(run["state"], "failed", "{url}: {run}");
        let error = run["error"].as_str().unwrap();
        assert!(
            error.contains("not a public address") || error.contains("cannot be resolved"),
            "{url}: {error}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn commands_run_without_a_shell() {
    let api = api_with(ALL).await;
    for (kwargs, state, word) in [
        (
            json!({"argv": ["echo", "$HOME; ls"]}),
            "succeeded",
            "$HOME; ls\n",
        ),
        (
            json!({"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]}),
            "failed",
            "exit code 3",
        ),
        (
            json!({"argv": ["sh", "-c", "kill -9 $$"]}),
            "failed",
            "signal 9 (SIGKILL)",
        ),
        (
            json!({"argv": ["cat"], "stdin": "from stdin"}),
            "succeeded",
            "from stdin",
        ),
        (json!({"argv": ["cat"]}), "succeeded", ""),
        (
            json!({"argv": ["sh", "-c", "echo $X $PUNCTUAL_JOB_ID $PUNCTUAL_ATTEMPT"], "env": {"X": "y"}}),
            "succeeded",
            "y once 1",
        ),
        (json!({"argv": ["pwd"], "cwd": "/"}), "succeeded", "/\n"),
        (
            json!({"argv": ["/does/not/exist"]}),
            "failed",
            "could not be started",
        ),
        (
            json!({"argv": ["pwd"], "cwd": "/does/not/exist"}),
            "failed",
            "its cwd /does/not/exist is not a folder",
        ),
        (
            json!({"argv": ["sh", "-c", "sleep 60 & sleep 60"], "timeout": 0.2}),
            "timed_out",
            "0.2 s",
        ),
        (
            json!({"argv": ["sh", "-c", "sleep 60 & echo left"]}),
            "succeeded",
            "left",
        ),
    ] {
        let run = api.run_once("command", kwargs.clone()).await;
        assert_eq!(run["state"], state, "{kwargs}: {run}");
        let said = format!(
            "{}{}",
            run["output"].as_str().unwrap_or_default(),
            run["error"].as_str().unwrap_or_default()
        );
        assert!(said.contains(word), "{kwargs}: {said}");
    }
    for (kwargs, field) in [
        (json!({"argv": []}), "kwargs"),
        (json!({"argv": "ls"}), "kwargs.argv"),
        (json!({"argv": ["a", 1]}), "kwargs.argv[1]"),
        (json!({"argv": ["a\0"]}), "kwargs"),
        (json!({"argv": ["a"], "env": {"A": 1}}), "kwargs.env.A"),
        (json!({"argv": ["a"], "shell": true}), "kwargs.shell"),
    ] {
        let job = json!({"func": "command", "kwargs": kwargs});
        let refused = api.post("/scheduler/jobs", job).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["field"]),
            (422, &json!(field)),
            "{kwargs}"
        );
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_command_ends_with_all_it_started() {
    let api = api_with(ALL).await;
    let folder = std::env::temp_dir();
    let beat = folder.join(format!("punctual-beat-{}", std::process::id()));
    let script = format!(
        "(while :; do echo >> {}; sleep 0.05; done) & wait",
        beat.display()
    );
    let job = json!({"id": "a", "func": "command", "kwargs": {"argv": ["sh", "-c", script]}, "trigger": "interval", "hours": 1});
    api.post("/scheduler/jobs", job).await;
    let run = api.post("/scheduler/jobs/a/run", json!(null)).await;
    let path = run.headers["location"].to_str().unwrap().to_owned();
    let size = || std::fs::metadata(&beat).map_or(0, |file| file.len());
    while size() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    api.post(&format!("{path}/cancel"), json!(null)).await;
    assert_eq!(api.ended(&path).await["state"], "cancelled");
    let then = size();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(size(), then, "the child in the background is gone too");
    let _ = std::fs::remove_file(beat);
}
