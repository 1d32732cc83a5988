use clap::Parser;

use super::*;
use crate::flags::Flags;

fn from_file(text: &str, flags: &[&str]) -> anyhow::Result<Settings> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let args = [&["dynamic-jobs", "--settings", path], flags].concat();
    Flags::try_parse_from(args).unwrap().resolve()
}

#[test]
fn the_defaults_are_the_tutorials() {
    for settings in [Settings::development(), Settings::production()] {
        assert_eq!(settings.listen.to_string(), "127.0.0.1:5000");
        assert_eq!(
            settings.default_store().to_string(),
            "sqlite:dynamic-jobs.db"
        );
        assert!(!settings.api_enabled);
        assert_eq!(
            settings.scheduler_keys()["executors"],
            json!({ "default": { "type": "threadpool", "max_workers": 10 } })
        );
        assert_eq!(settings.job_defaults["coalesce"], true);
        assert!(settings.is_shared());
    }
}

#[test]
fn flags_go_before_the_file() {
    let text = r#"
        listen = "localhost:5001"
        api_enabled = true
        lease_seconds = 2
        drain_seconds = 0.5
        executors.default = { type = "threadpool", max_workers = 3 }
        job_defaults = { max_instances = 1 }
        [jobstores]
        default = { url = "mysql+mysqlconnector://ann:s3cret@db/jobs", prefix = "x_" }
        archive = { url = "memory:" }
    "#;
    let settings = from_file(text, &["--listen", "127.0.0.1:5002"]).unwrap();
    assert_eq!(settings.listen.port(), 5002);
    assert!(settings.api_enabled && !settings.is_shared());
    assert_eq!(settings.default_store().to_string(), "mysql://ann@db/jobs");
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert_eq!(
        settings.job_defaults["coalesce"], true,
        "what is not said stays"
    );
    let keys = settings.scheduler_keys();
    let url = "mysql+mysqlconnector://ann:s3cret@db/jobs";
    assert_eq!(
        keys["jobstores"]["default"],
        json!({ "type": "url", "url": url, "prefix": "x_" })
    );
    assert_eq!(keys["executors"]["default"]["max_workers"], 3);
    let settings = from_file(text, &["--store", "sqlite:other.db"]).unwrap();
    assert_eq!(settings.default_store().to_string(), "sqlite:other.db");
}

#[test]
fn what_does_not_fit_is_named() {
    for (text, word) in [
        (
            "api_enable = true",
            "api_enable: unknown setting; did you mean api_enabled?",
        ),
        ("zzz = 1", "zzz: unknown setting; these are known: listen, "),
        ("listen = 5000", "listen: "),
        ("listen = \"here\"", "\"here\" is no address"),
        (
            "lease_seconds = -1",
            "lease_seconds: -1 is no number of seconds",
        ),
        ("hosts = [\"http://x\"]", "without scheme and port"),
        (
            "[jobstores.default]\nurl = \"oracle://u:s3cret@h\"",
            "jobstores: \"oracle\" is no kind of store",
        ),
        (
            "[jobstores.default]\nurl = \"memory:\"\ntable = 1",
            "unknown field `table`",
        ),
        ("[jobstores.default]\nprefix = \"x\"", "missing field `url`"),
        ("\njobstores = \"mysql://u:s3cret@h\n", "not TOML: line 2"),
    ] {
        let error = format!("{:#}", from_file(text, &[]).unwrap_err());
        assert!(error.contains(word), "{text}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let error = from_file("", &["--store", "u:s3cret@h"]).unwrap_err();
    assert!(format!("{error:#}").contains("--store"), "{error:#}");
}
