//! The endpoints, one by one.

use serde_json::{Value, json};

use crate::support::api;

const JOBS: &str = "/scheduler/jobs";

#[tokio::test]
async fn a_job_is_shown_as_flask_apscheduler_shows_it() {
    let api = api().await;
    for (given, shown) in [
        (
            json!({"trigger": "date", "run_date": "2099-01-01 10:00"}),
            json!({"trigger": "date", "run_date": "2099-01-01T10:00:00+00:00", "next_run_time": "2099-01-01T10:00:00+00:00"}),
        ),
        (
            json!({"trigger": {"type": "interval", "minutes": 90, "start_date": "2099-01-01"}}),
            json!({"trigger": "interval", "hours": 1, "minutes": 30, "start_date": "2099-01-01T00:00:00+00:00"}),
        ),
        (
            json!({"trigger": "cron", "hour": 9, "day_of_week": "mon-fri", "timezone": "Europe/Paris", "start_date": "2099-06-01"}),
            json!({"trigger": "cron", "hour": "9", "day_of_week": "mon-fri", "timezone": "Europe/Paris",
                "next_run_time": "2099-06-01T09:00:00+02:00"}),
        ),
        (
            json!({"trigger": "crontab", "expr": "0 3 * * *"}),
            json!({"trigger": "crontab", "expr": "0 3 * * *"}),
        ),
        (
            json!({"trigger": "calendarinterval", "months": 1, "hour": 9}),
            json!({"trigger": "calendarinterval", "months": 1, "hour": 9}),
        ),
        (
            json!({"trigger": "or", "triggers": [{"type": "cron", "hour": 1}, {"type": "interval", "hours": 1}]}),
            json!({"trigger": "or"}),
        ),
        (
            json!({"trigger": "interval", "seconds": 30, "next_run_time": null}),
            json!({"trigger": "interval", "seconds": 30, "next_run_time": null}),
        ),
    ] {
        let mut body = json!({"id": "a", "func": "log", "args": ["hi"], "replace_existing": true});
        body.as_object_mut()
            .unwrap()
            .extend(given.as_object().unwrap().clone());
        let added = api.post(JOBS, body).await;
        assert_eq!(added.status, 200, "{given}: {}", added.body);
        let found = api.get("/scheduler/jobs/a").await.body;
        for (key, value) in shown.as_object().unwrap() {
            assert_eq!(found[key], *value, "{key} of {given}");
        }
        for key in ["id", "name"] {
            assert_eq!(found[key], "a");
        }
        assert_eq!(found["func"], "log");
        assert_eq!(found["args"], json!(["hi"]));
        assert_eq!(found["kwargs"], json!({}));
        assert_eq!(found["max_instances"], 1);
        assert!(found["misfire_grace_time"].is_null());
        assert_eq!(found.get("no_node_has_task"), None);
        api.ask("DELETE", "/scheduler/jobs/a", Value::Null).await;
    }
}

#[tokio::test]
async fn statuses_tell_what_was_wrong() {
    let api = api().await;
    let job = json!({"id": "a", "func": "log", "args": ["x"], "trigger": "interval", "hours": 1});
    assert_eq!(api.post(JOBS, job.clone()).await.status, 200);
    let with = |key: &str, value: Value| {
        let mut job = job.clone();
        job["id"] = "b".into();
        job[key] = value;
        job
    };
    for (body, status, field, word) in [
        (job.clone(), 409, "id", "Job a already exists."),
        (with("id", json!("")), 422, "id", "empty"),
        (with("id", json!("a\u{0}b")), 422, "id", "control"),
        (with("id", json!(7)), 422, "id", "a number"),
        (
            with("func", json!("logg")),
            422,
            "func",
            "did you mean log?",
        ),
        (
            with("func", json!("command")),
            422,
            "func",
            "--allow-command",
        ),
        (with("task", json!("http")), 422, "task", "give one of them"),
        (
            with("max_instances", json!(0)),
            422,
            "max_instances",
            "from 1",
        ),
        (
            with("max_instances", json!(1e30)),
            422,
            "max_instances",
            "from 1",
        ),
        (
            with("misfire_grace_time", json!(-1)),
            422,
            "misfire_grace_time",
            "above 0",
        ),
        (
            with("coalesce", json!("yes")),
            422,
            "coalesce",
            "true or false",
        ),
        (with("overlap", json!("queue")), 422, "overlap", "queue_one"),
        (
            with("retry", json!({"attempts": 1})),
            422,
            "retry",
            "2 to 100",
        ),
        (with("timeout", json!(0)), 422, "timeout", "above 0"),
        (with("args", json!([1])), 422, "args[0]", "do not fit"),
        (with("kwargs", json!([])), 422, "kwargs", "an object"),
        (with("tags", json!(["a", 1])), 422, "tags[1]", "a text"),
        (
            with("executor", json!("defualt")),
            422,
            "executor",
            "did you mean default?",
        ),
        (
            with("executor", json!("elsewhere")),
            422,
            "executor",
            "did you mean default?",
        ),
        (
            with("jobstore", json!("nowhere")),
            422,
            "jobstore",
            "not known",
        ),
        (
            with("triger", json!("cron")),
            422,
            "triger",
            "did you mean \"trigger\"?",
        ),
        (
            with("revision", json!(1)),
            422,
            "revision",
            "set by the server",
        ),
        (with("hour", json!(9)), 422, "hour", "hours"),
        (
            with("hours", json!(0)),
            422,
            "trigger",
            "longer than nothing",
        ),
        (
            with("trigger", json!("cron")),
            422,
            "hours",
            "did you mean \"hour\"?",
        ),
        (
            with("trigger", json!({"type": "cron"})),
            422,
            "hours",
            "put it inside",
        ),
        (
            with("timezone", json!("Europe/Pari")),
            422,
            "timezone",
            "Europe/Paris",
        ),
        (
            with("next_run_time", json!("soon")),
            422,
            "next_run_time",
            "not a date",
        ),
        (
            json!({"func": "log", "args": ["x"], "trigger": {"type": "and", "triggers": [{"type": "cron", "hour": 25}]}}),
            422,
            "trigger.triggers[0].hour",
            "0-23",
        ),
        (
            json!({"func": "log", "args": ["x"], "trigger": "cron", "month": 2, "day": 30}),
            422,
            "trigger",
            "never",
        ),
        (json!({"id": "b"}), 422, "func", "missing"),
    ] {
        let answer = api.post(JOBS, body.clone()).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert_eq!(answer.body["field"], field, "{body}: {}", answer.body);
        assert!(detail.contains(word), "{body}: {detail}");
        assert_eq!(answer.body["error_message"], answer.body["detail"]);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    for (method, path, body, status) in [
        ("GET", "/scheduler/jobs/nobody", "", 404),
        ("PATCH", "/scheduler/jobs/nobody", "{}", 404),
        ("DELETE", "/scheduler/jobs/nobody", "", 404),
        ("POST", "/scheduler/jobs/nobody/pause", "", 404),
        ("POST", "/scheduler/jobs/nobody/resume", "", 404),
        ("POST", "/scheduler/jobs/nobody/run", "", 404),
        ("GET", "/scheduler/jobs/nobody/runs", "", 404),
        ("GET", "/scheduler/runs/1", "", 404),
        (
            "GET",
            "/scheduler/runs/01a20495-affe-7000-8000-0001a1faeea6",
            "",
            404,
        ),
        ("GET", "/elsewhere", "", 404),
        ("GET", "/schedulerx", "", 404),
        ("PUT", "/scheduler/jobs", "{}", 405),
        ("DELETE", "/healthz", "", 405),
        ("POST", "/scheduler/jobs", "", 400),
        ("POST", "/scheduler/jobs", "{", 400),
        ("POST", "/scheduler/jobs", "[]", 422),
        ("POST", "/scheduler/start", "", 400),
        ("GET", "/scheduler/jobs?limit=0", "", 422),
        ("GET", "/scheduler/jobs?limit=1001", "", 422),
        ("GET", "/scheduler/jobs?cursor=x", "", 422),
        ("GET", "/scheduler/jobs?lmit=5", "", 422),
        ("GET", "/scheduler/runs?cursor=x", "", 422),
        ("GET", "/scheduler/runs?state=done", "", 422),
        ("GET", "/scheduler/jobs/%zz", "", 400),
        ("PATCH", "/scheduler/jobs/a", r#"{"hours": 2}"#, 422),
        ("PATCH", "/scheduler/jobs/a", r#"{"id": "b"}"#, 422),
        (
            "PATCH",
            "/scheduler/jobs/a",
            r#"{"name": "x", "revision": 7}"#,
            409,
        ),
    ] {
        let answer = api.raw(method, path, body).await;
        assert_eq!(
            answer.status, status,
            "{method} {path} {body}: {}",
            answer.body
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.body["status"], status);
    }
    let missing = api.get("/scheduler/jobs/nobody").await.body;
    assert_eq!(missing["error_message"], "Job nobody not found");
    let long = "x".repeat(2 << 20);
    assert_eq!(api.raw("POST", JOBS, long).await.status, 413);
}

#[tokio::test]
async fn ids_hold_anything() {
    let api = api().await;
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("a/b", "a/b"),
        ("a/run", "a%2Frun"),
        ("run", "run"),
        ("ü %?#&", "%C3%BC%20%25%3F%23%26"),
        ("a%2Fb", "a%252Fb"),
        ("..", ".."),
    ] {
        let job =
            json!({"id": id, "func": "log", "args": ["x"], "trigger": "interval", "hours": 1});
        assert_eq!(api.post(JOBS, job).await.status, 200);
        let path = format!("{JOBS}/{path}");
        assert_eq!(api.get(&path).await.body["id"], id);
        let run = api.post(&format!("{path}/run"), Value::Null).await;
        assert_eq!(run.body["run"]["job_id"], id);
        api.ended(run.headers["location"].to_str().unwrap()).await;
        assert_eq!(api.ask("DELETE", &path, Value::Null).await.status, 204);
        let runs = api.get(&format!("{path}/runs")).await;
        assert_eq!(
            runs.body["items"][0]["job_id"], id,
            "the ledger outlives the job"
        );
    }
}

#[tokio::test]
async fn jobs_are_paused_changed_run_and_resumed() {
    let api = api().await;
    let job = json!({"id": "a", "func": "log", "args": ["x"], "trigger": "interval", "hours": 1, "tags": ["t"]});
    api.post(JOBS, job).await;
    let paused = api
        .post(
            "/scheduler/jobs/a/pause",
            json!({"by": "me", "note": "why"}),
        )
        .await
        .body;
    assert!(paused["next_run_time"].is_null());
    assert_eq!(
        (&paused["paused"]["by"], &paused["paused"]["note"]),
        (&json!("me"), &json!("why"))
    );
    let list = api
        .get("/scheduler/jobs?paused=true&tag=t&text=A&task=log")
        .await
        .body;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(
        api.get("/scheduler/jobs?paused=false").await.body,
        json!([])
    );

    let changed = api
        .ask(
            "PATCH",
            "/scheduler/jobs/a",
            json!({"trigger": "cron", "hour": 4, "name": "n", "max_instances": 2}),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        (&changed.body["hour"], &changed.body["name"]),
        (&json!("4"), &json!("n"))
    );
    assert!(
        changed.body["next_run_time"].is_null(),
        "a change keeps the pause"
    );
    let resumed = api.post("/scheduler/jobs/a/resume", Value::Null).await.body;
    assert!(resumed["next_run_time"].is_string());

    let run = api.post("/scheduler/jobs/a/run", Value::Null).await;
    assert_eq!(run.status, 200);
    let ended = api.ended(run.headers["location"].to_str().unwrap()).await;
    assert_eq!(
        (&ended["state"], &ended["output"]),
        (&json!("succeeded"), &json!("x\n"))
    );
    assert_eq!(ended["kind"], "manual");

    let gone = json!({"id": "gone", "func": "log", "args": ["x"], "trigger": "date", "run_date": "2020-01-01", "next_run_time": null});
    let added = api.post(JOBS, gone).await;
    assert_eq!(added.status, 200, "{}", added.body);
    let resumed = api.post("/scheduler/jobs/gone/resume", Value::Null).await;
    assert_eq!((resumed.status.as_u16(), resumed.body), (200, Value::Null));

    let late = json!({"id": "late", "func": "log", "args": ["x"], "trigger": "date", "run_date": "2020-01-01"});
    let warnings = &api.post(JOBS, late).await.body["warnings"];
    assert!(
        warnings[0].as_str().unwrap().contains("has passed"),
        "{warnings}"
    );
}

#[tokio::test]
async fn lists_are_paged() {
    let api = api().await;
    for i in 0..5 {
        let job = json!({"id": format!("j {i}"), "func": "log", "args": ["x"], "trigger": "interval", "hours": 1});
        api.post(JOBS, job).await;
        let path = format!("{JOBS}/j%20{i}/run");
        let run = api.post(&path, Value::Null).await;
        api.ended(run.headers["location"].to_str().unwrap()).await;
    }
    let mut ids = Vec::new();
    let mut path = format!("{JOBS}?limit=2&text=j");
    loop {
        let page = api.get(&path).await;
        ids.extend(
            page.body
                .as_array()
                .unwrap()
                .iter()
                .map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        let Some(link) = page.headers.get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        assert!(link.ends_with("; rel=\"next\""));
        path = link[1..link.find('>').unwrap()].to_owned();
    }
    assert_eq!(ids, ["j 0", "j 1", "j 2", "j 3", "j 4"]);

    let mut seen = Vec::new();
    let mut path = "/scheduler/runs?limit=2".to_owned();
    loop {
        let page = api.get(&path).await.body;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["job_id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/scheduler/runs?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["j 4", "j 3", "j 2", "j 1", "j 0"], "newest first");
}

#[tokio::test]
async fn overlapping_runs_are_skipped_and_running_ones_cancelled() {
    let api = api().await;
    let job = json!({"id": "a", "func": "wait", "args": [1], "trigger": "interval", "hours": 1});
    api.post(JOBS, job).await;
    let first = api.post("/scheduler/jobs/a/run", Value::Null).await;
    let second = api.post("/scheduler/jobs/a/run", Value::Null).await.body;
    assert_eq!(
        (&second["run"]["state"], &second["run"]["reason"]),
        (&json!("skipped"), &json!("max_instances"))
    );
    let path = first.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(
        api.post(&format!("{path}/cancel"), Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(api.ended(&path).await["state"], "cancelled");
}

#[tokio::test]
async fn the_scheduler_is_paused_stopped_and_started() {
    let api = api().await;
    let shown = api.get("/scheduler/").await.body;
    assert_eq!(
        (&shown["running"], &shown["allowed_hosts"]),
        (&json!(true), &json!(["*"]))
    );
    assert!(shown["current_host"].is_string());
    assert_eq!(api.post("/scheduler/pause", Value::Null).await.status, 204);
    let shown = api.get("/scheduler").await.body;
    assert_eq!(
        (&shown["running"], &shown["paused"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(api.post("/scheduler/resume", Value::Null).await.status, 204);
    // The store is opened beside, which may take a moment.
    while api.get("/readyz").await.status != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(api.post("/scheduler/start", Value::Null).await.status, 400);
    assert_eq!(
        api.post("/scheduler/shutdown", json!({"wait": true}))
            .await
            .status,
        204
    );
    assert_eq!(api.get("/scheduler").await.body["running"], false);
    assert_eq!(api.get("/readyz").await.status, 503);
    assert_eq!(
        api.post("/scheduler/shutdown", Value::Null).await.status,
        400
    );
    assert_eq!(api.post("/scheduler/start", Value::Null).await.status, 204);
    assert_eq!(api.get("/healthz").await.status, 200);

    // A run that does not end keeps the shutdown waiting.
    let job = json!({"id": "w", "func": "wait", "args": [1], "trigger": "interval", "hours": 1});
    api.post("/scheduler/jobs", job).await;
    let run = api.post("/scheduler/jobs/w/run", Value::Null).await;
    let path = run.headers["location"].to_str().unwrap().to_owned();
    while api.get(&path).await.body["state"] != "running" {
        tokio::task::yield_now().await;
    }
    let ending = api.post("/scheduler/shutdown", json!({"wait": false}));
    assert_eq!(ending.await.status, 204);
    while api.get("/scheduler").await.body["state"] != "draining" {
        tokio::task::yield_now().await;
    }
    let early = api.post("/scheduler/start", Value::Null).await;
    assert_eq!(early.status, 409);
    let why = early.body["detail"].as_str().unwrap();
    assert!(why.contains("shutting down"), "{why}");
    api.scheduler
        .shutdown(punctual_core::scheduler::Shutdown::Cancel)
        .await;
}

#[tokio::test]
async fn triggers_are_previewed() {
    let api = api().await;
    let body = json!({"trigger": {"type": "cron", "hour": 9, "timezone": "Europe/London"}, "now": "2026-06-01 00:00", "n": 2});
    let answer = api.post("/scheduler/triggers/next", body).await.body;
    assert_eq!(
        answer["fires"],
        json!(["2026-06-01T09:00:00+01:00", "2026-06-02T09:00:00+01:00"])
    );
    assert_eq!(answer["description"], "at 09:00, Europe/London");
    for (body, field) in [
        (json!({}), "trigger"),
        (
            json!({"trigger": {"type": "cron", "hour": 24}}),
            "trigger.hour",
        ),
        (json!({"trigger": "cron", "hour": 24}), "hour"),
        (json!({"trigger": "interval", "seconds": 1, "n": 1e9}), "n"),
        (
            json!({"trigger": "interval", "seconds": 1, "now": "x"}),
            "now",
        ),
    ] {
        let answer = api.post("/scheduler/triggers/next", body.clone()).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.body["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_task_that_nobody_has_is_shown_as_such() {
    let api = api().await;
    let job = json!({"id": "a", "func": "nobody:has.it", "trigger": "interval", "hours": 1, "allow_unknown_task": true});
    let added = api.post(JOBS, job).await;
    assert_eq!(added.body["no_node_has_task"], true, "{}", added.body);
}
