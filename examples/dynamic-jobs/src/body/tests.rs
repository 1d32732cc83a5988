use super::*;

#[track_caller]
fn check(body: &str, task_id: &str, trigger: &Value) {
    let read = read(body.as_bytes()).unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
    assert_eq!(read.task_id, task_id, "{body}");
    assert_eq!(&read.trigger.to_json(), trigger, "{body}");
}

#[test]
fn the_tutorials_bodies_are_read() {
    check(
        r#"{"task_id":"2","run_time":"2020-8-12 12:03:00","trigger_type":"date"}"#,
        "2",
        &Trigger::from_json(&json!({"type": "date", "run_date": "2020-08-12 12:03:00"}))
            .unwrap()
            .to_json(),
    );
    let every_ten = json!({"type": "interval", "seconds": 10});
    for body in [
        r#"{"task_id":"5","interval_time":10,"trigger_type":"interval"}"#,
        r#"{"task_id":"5","interval_time":"10","trigger_type":"interval"}"#,
        r#"{"task_id":5,"interval_time":" 10 ","trigger_type":"interval"}"#,
    ] {
        check(body, "5", &every_ten);
    }
    let read = read(
        br#"{"task_id":"5","run_time":{"day_of_week":"2","hour":"16","minute":"19","second":"00"},"trigger_type":"cron"}"#,
    )
    .unwrap();
    assert_eq!(
        read.trigger.describe(),
        "at 16:19 on Wednesday",
        "Monday is 0"
    );
}

#[test]
fn every_cron_field_is_taken() {
    for (field, value) in [
        ("year", json!("2030-2032")),
        ("month", json!("jan,7")),
        ("day", json!("last")),
        ("week", json!(53)),
        ("day_of_week", json!("mon-fri")),
        ("hour", json!("*/2")),
        ("minute", json!(0)),
        ("second", json!("00")),
    ] {
        let body = json!({"task_id": "a/b %", "trigger_type": "cron", "run_time": {field: value}});
        let read = read(body.to_string().as_bytes());
        assert_eq!(read.unwrap().task_id, "a/b %", "{body}");
    }
}

#[test]
fn other_bodies_are_refused_with_the_reason() {
    let long = "x".repeat(192);
    let object = |more: &str| format!(r#"{{"task_id":"5",{more}}}"#);
    let interval = |value: &str| {
        object(&format!(
            r#""trigger_type":"interval","interval_time":{value}"#
        ))
    };
    let date = |value: &str| object(&format!(r#""trigger_type":"date","run_time":{value}"#));
    let cron = |value: &str| object(&format!(r#""trigger_type":"cron","run_time":{value}"#));
    let id = |value: &str| {
        format!(r#"{{"task_id":{value},"trigger_type":"interval","interval_time":1}}"#)
    };
    for (body, status, words) in [
        (String::new(), 400, "the body is empty"),
        ("{".to_owned(), 400, "not JSON"),
        ("[1]".to_owned(), 400, "the body is a list"),
        ("\u{1}".to_owned(), 400, "not JSON"),
        ("{}".to_owned(), 422, "task_id: is missing"),
        (id("null"), 422, "task_id: is null"),
        (
            id("1.5"),
            422,
            "task_id: is 1.5; it takes a text or a whole number",
        ),
        (id("{}"), 422, "task_id: is an object"),
        (id("\"\""), 422, "is empty; it takes 1 to 191 characters"),
        (id(&format!("\"{long}\"")), 422, "has 192 characters"),
        (id("\"a\\nb\""), 422, "control character"),
        (
            id("\"jobs\""),
            422,
            "task_id: \"jobs\" is a word of this service's paths",
        ),
        (
            object(r#""x":1"#),
            422,
            "x: unknown key; these are known: task_id",
        ),
        (
            object(r#""trigger":"date""#),
            422,
            "trigger: unknown key; did you mean \"trigger_type\"?",
        ),
        (
            object(r#""run_time":"2020-8-12""#),
            422,
            "trigger_type: is missing; it takes \"date\"",
        ),
        (
            object(r#""trigger_type":3"#),
            422,
            "trigger_type: is 3; it takes",
        ),
        (
            object(r#""trigger_type":"crom""#),
            422,
            "did you mean \"cron\"?",
        ),
        (
            object(r#""trigger_type":"often""#),
            422,
            "trigger_type: \"often\" is not known; it takes",
        ),
        (
            object(r#""trigger_type":"interval""#),
            422,
            "interval_time: is missing",
        ),
        (
            interval("0"),
            422,
            "interval_time: 0 is not above 0; it takes a number of seconds above 0",
        ),
        (interval("-3"), 422, "interval_time: -3 is not above 0"),
        (
            interval("\"-0.5\""),
            422,
            "interval_time: \"-0.5\" is not above 0",
        ),
        (
            interval("\"ten\""),
            422,
            "interval_time: \"ten\" is no number",
        ),
        (
            interval("\"inf\""),
            422,
            "interval_time: \"inf\" is no number",
        ),
        (interval("true"), 422, "interval_time: true is no number"),
        (interval("null"), 422, "interval_time: null is no number"),
        (interval("1e300"), 422, "interval_time: "),
        (
            object(r#""trigger_type":"interval","interval_time":1,"run_time":"x""#),
            422,
            "run_time: does not go with the trigger_type \"interval\", which takes interval_time",
        ),
        (
            object(r#""trigger_type":"date","interval_time":1"#),
            422,
            "interval_time: does not go with the trigger_type \"date\"",
        ),
        (
            object(r#""trigger_type":"date""#),
            422,
            "run_time: is missing; with the trigger_type \"date\"",
        ),
        (
            date("5"),
            422,
            "run_time: is 5; with the trigger_type \"date\" it takes a time",
        ),
        (date("\"2020-13-12 12:03:00\""), 422, "run_time: "),
        (date("\"tomorrow\""), 422, "run_time: "),
        (date("{}"), 422, "run_time: is an object"),
        (
            object(r#""trigger_type":"cron""#),
            422,
            "run_time: is missing; with the trigger_type \"cron\"",
        ),
        (
            cron("\"16:19\""),
            422,
            "run_time: is \"16:19\"; with the trigger_type \"cron\"",
        ),
        (cron("{}"), 422, "run_time: is empty"),
        (
            cron(r#"{"hours":"1"}"#),
            422,
            "run_time.hours: unknown key; did you mean \"hour\"?",
        ),
        (cron(r#"{"hour":"25"}"#), 422, "run_time.hour: "),
        (cron(r#"{"hour":null}"#), 422, "run_time.hour: is null"),
        (cron(r#"{"second":"061"}"#), 422, "run_time.second: "),
        (
            cron(r#"{"type":"date"}"#),
            422,
            "run_time.type: unknown key",
        ),
        (
            cron(r#"{"timezone":"UTC"}"#),
            422,
            "run_time.timezone: unknown key",
        ),
        (cron(r#"{"day":"0, tue"}"#), 422, "did you mean day_of_week"),
    ] {
        let refusal = read(body.as_bytes()).expect_err(&body);
        assert_eq!(refusal.status.as_u16(), status, "{body}: {}", refusal.msg);
        assert!(refusal.msg.contains(words), "{body}: {}", refusal.msg);
        assert!(refusal.msg.len() < 500, "{body}: {}", refusal.msg);
    }
}
