//! Whom the service answers.

use serde_json::json;

use crate::client::Request;
use crate::place::Place;
use crate::support::{Service, refused};

const BODY: &str = r#"{"task_id":"5","interval_time":60,"trigger_type":"interval"}"#;
const TOKEN: &str = "a-token-of-the-tests";

/// An image on another site's page is a GET with cookies and all; a form is a POST whose body is no JSON.
#[test]
fn other_sites_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    let send = |request: &Request| request.send(&service.address);
    service.add(BODY).ok();
    let image = |path: &str| {
        Request::new("GET", path)
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", "no-cors")
            .header("Sec-Fetch-Dest", "image")
            .header("Referer", "http://evil.example/")
    };
    let form = |path: &str| {
        Request::new("POST", path)
            .header("Sec-Fetch-Site", "cross-site")
            .header("Origin", "http://evil.example")
            .body("application/x-www-form-urlencoded", "task_id=5")
    };
    let old_form = |path: &str| {
        Request::new("POST", path)
            .header("Origin", "http://evil.example")
            .body("text/plain", BODY)
    };
    let get = |path: &str| Request::new("GET", path);
    for (request, status) in [
        (image("/5/remove"), 403),
        (image("/5/pause"), 403),
        (image("/5/resume"), 403),
        (get("/5/remove").header("Sec-Fetch-Site", "same-site"), 403),
        (get("/5/remove").header("Host", "evil.example"), 403),
        (
            get("/5/remove").header("Host", &format!("localhost.{}", service.address)),
            403,
        ),
        (get("/5/remove").header("Host", ""), 403),
        (
            get("/5/remove")
                .header("Sec-Fetch-Site", "none")
                .header("Sec-Purpose", "prefetch;prerender"),
            403,
        ),
        (form("/5/remove"), 403),
        (form("/addCron"), 403),
        (old_form("/5/remove"), 403),
        (old_form("/addCron"), 403),
        (Request::add(BODY).header("Origin", "null"), 403),
        (Request::add(BODY).header("Host", "evil.example"), 403),
        (get("/jobs").header("Host", "evil.example"), 403),
        (get("/jobs/5/runs").header("Host", "evil.example"), 403),
        // Old browsers say nothing of where a form comes from.
        (
            Request::new("POST", "/addCron").body("text/plain", BODY),
            415,
        ),
        (Request::new("HEAD", "/5/remove"), 405),
        (Request::new("PUT", "/5/remove"), 405),
        (Request::new("GET", "/addCron"), 405),
    ] {
        let answer = send(&request);
        assert_eq!(answer.status, status, "{answer:?}");
        if !answer.body.is_null() {
            assert_eq!(answer.body["status"], false);
            assert!(!answer.msg().is_empty());
        }
    }
    let job = service.ask("GET", "/jobs/5").ok();
    assert_eq!(
        (&job["revision"], &job["paused"]),
        (&json!(1), &json!(null)),
        "{job}"
    );

    let own = format!("http://{}", service.address);
    for request in [
        get("/5/pause").header("Sec-Fetch-Site", "same-origin"),
        get("/5/resume").header("Sec-Fetch-Site", "none"),
        get("/5/pause").header("Host", "localhost"),
        Request::new("POST", "/5/resume").header("Origin", &own),
        Request::add(BODY)
            .header("Origin", &own)
            .header("Sec-Fetch-Site", "same-origin"),
    ] {
        let answer = send(&request);
        assert!(
            answer.head.contains("cache-control: no-store"),
            "{answer:?}"
        );
        answer.ok();
    }
}

/// Nobody on another machine gets in without a token.
#[test]
fn what_others_can_reach_takes_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for flags in [&["--listen", "0.0.0.0:0"][..], &["--listen", "[::]:0"]] {
        let said = refused(path, flags);
        assert!(
            said.contains("can be reached from other machines"),
            "{said}"
        );
        assert!(said.contains("--token-file FILE"), "{said}");
    }
    std::fs::write(path.join("hosts.toml"), "hosts = ['jobs.example']").unwrap();
    let said = refused(path, &["--settings", "hosts.toml"]);
    assert!(said.contains("hosts: ") && said.contains("token"), "{said}");
    std::fs::write(path.join("weak"), "short\n").unwrap();
    let said = refused(path, &["--token-file", "weak"]);
    assert!(said.contains("at least 16"), "{said}");

    std::fs::write(path.join("token"), format!("{TOKEN}\n")).unwrap();
    let service = Service::start(path, &["--settings", "hosts.toml", "--token-file", "token"]);
    let named = Request::new("GET", "/jobs").header("Host", "jobs.example");
    let right = format!("Bearer {TOKEN}");
    let local = Request::new("GET", "/jobs");
    for (request, status) in [
        (local, 200),
        (named.clone(), 401),
        (
            named
                .clone()
                .header("Authorization", "Bearer something-quite-different"),
            401,
        ),
        (named.header("Authorization", &right), 200),
    ] {
        let answer = request.send(&service.address);
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

/// The routes of Flask-APScheduler are there where the settings say so, and take a token also on this machine.
#[test]
fn the_api_is_switched_on_by_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let off = Service::start(path, &[]);
    let answer = off.ask("GET", "/scheduler/jobs");
    assert_eq!(answer.status, 404);
    assert!(answer.msg().contains("api_enabled"), "{answer:?}");
    drop(off);

    let settings = Place::sqlite().write(path, "api_enabled = true");
    let flags = ["--settings", settings.to_str().unwrap()];
    let check = |service: &Service, token: &str| {
        service.add(BODY).ok();
        let bearer = format!("Bearer {token}");
        let jobs = Request::new("GET", "/scheduler/jobs");
        for (request, status) in [
            (jobs.clone(), 401),
            (
                jobs.clone()
                    .header("Authorization", "Bearer something-quite-different"),
                401,
            ),
            (jobs.clone().header("Authorization", &bearer), 200),
            (Request::new("POST", "/scheduler/jobs/5/run"), 401),
            (
                Request::new("POST", "/scheduler/jobs/5/run").header("Authorization", &bearer),
                200,
            ),
            (
                Request::new("GET", "/scheduler").header("Authorization", &bearer),
                200,
            ),
            (
                jobs.clone()
                    .header("Authorization", &bearer)
                    .header("Host", "evil.example"),
                403,
            ),
        ] {
            let answer = request.send(&service.address);
            assert_eq!(answer.status, status, "{answer:?}");
        }
        let theirs = jobs
            .header("Authorization", &bearer)
            .send(&service.address)
            .ok();
        assert_eq!(
            theirs,
            service.ask("GET", "/jobs").ok(),
            "the same Job JSON"
        );
    };
    // The first start makes a token, and every other process on the store takes it.
    let first = Service::start(path, &flags);
    let second = Service::start(path, &flags);
    let token = std::fs::read_to_string(path.join("dynamic-jobs.db.token")).unwrap();
    let token = token.trim();
    assert!(first.log().contains(token), "it is shown once");
    assert!(!second.log().contains(token));
    check(&first, token);
    check(&second, token);
    drop((first, second));

    std::fs::write(path.join("token"), TOKEN).unwrap();
    let given = Service::start(path, &[&flags[..], &["--token-file", "token"]].concat());
    check(&given, TOKEN);
    let old =
        Request::new("GET", "/scheduler/jobs").header("Authorization", &format!("Bearer {token}"));
    assert_eq!(
        old.send(&given.address).status,
        401,
        "a given token is the only one"
    );
}
