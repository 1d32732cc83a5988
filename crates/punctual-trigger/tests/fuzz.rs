//! The fuzz bodies on a corpus, on damaged pieces of it and on seeded bytes: the same findings on every machine.

use punctual_trigger::fuzz;

type Body = fn(&[u8]);

const JSON: &[&str] = &[
    r#"{"type":"cron","day_of_week":"mon-fri","hour":"9","timezone":"Europe/London"}"#,
    r#"{"type":"cron","year":"2020-2030/3","month":"feb","day":"last,2nd fri","week":"1-53","second":"*/7"}"#,
    r#"{"type":"cron","month":2,"day":30,"dst":{"gap":"shift","fold":"second"},"start_date":"2026-1-1","jitter":5}"#,
    r#"{"type":"crontab","expr":"CRON_TZ=Asia/Tokyo */5 22-2 L * fri#2","dst":"apscheduler"}"#,
    r#"{"type":"crontab","expr":"0 0 * * 0","dialect":"apscheduler","end_date":"9999-12-31 23:59:59"}"#,
    r#"{"type":"interval","weeks":1,"days":0.5,"seconds":1.000001,"start_date":"0001-01-01"}"#,
    r#"{"type":"interval","seconds":86399999999999,"start_date":"9999-12-31T23:59:59.999999Z"}"#,
    r#"{"type":"interval","seconds":0.000001,"jitter":1e-6}"#,
    r#"{"type":"date","run_date":"9999-12-31 23:59:59-23:59"}"#,
    r#"{"type":"date","run_date":"0001-01-01 00:00:00+23:59"}"#,
    r#"{"type":"calendarinterval","years":1,"months":1,"weeks":1,"days":1,"start_date":"2024-02-29","hour":2}"#,
    r#"{"type":"calendarinterval","months":4294967295,"days":4294967295,"start_date":"9999-12-31"}"#,
    r#"{"type":"calendarinterval","months":1,"start_date":"0001-01-31","end_date":"9999-12-31"}"#,
    r#"{"type":"or","triggers":[{"type":"cron","minute":0},{"type":"and","triggers":[{"type":"cron","hour":1}]}]}"#,
    r#"{"type":"and","triggers":[{"type":"cron","minute":0},{"type":"cron","minute":30}]}"#,
];

const EXPRESSIONS: &[&str] = &[
    "30 9 * * mon-fri",
    "*/5 * * * * *",
    "@daily",
    "@reboot",
    "0 0 L-3,15W,LW * 5L,fri#2",
    "TZ=UTC 58-1/2 22-2 28-3 nov-feb sat-mon/3",
    "0 0 ? * ?",
    "0 0 30 2 *",
    "é é é é é",
    "0 0 * * *\u{a0}*",
];

const DATES: &[&str] = &[
    "2020-8-12 12:03:00",
    "2026-03-08T02:30:00.123456-05:00",
    "9999-12-31 23:59:59.999999Z",
    "0001-01-01",
    "2020-02-29T1:2:3+00:00",
];

/// A small generator, so that a seed gives the same bytes for ever.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Every text as it is, damaged in some places, and bytes that have the look of the grammar.
fn run(body: Body, corpus: &[&str], rounds: u64) {
    const SIGNS: &[u8] = b"0123456789*/,-#LW?@ :TZ+.monfri\"{}[]e\t\xc3";
    for text in corpus {
        body(text.as_bytes());
        for seed in 1..=rounds {
            let mut seeded = Seeded(seed * 0x9e37_79b9);
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=seeded.below(3) {
                let at = seeded.below(bytes.len().max(1)).min(bytes.len());
                let sign = SIGNS[seeded.below(SIGNS.len())];
                match seeded.below(4) {
                    0 => bytes.insert(at, sign),
                    1 if !bytes.is_empty() => bytes[at] = sign,
                    2 if !bytes.is_empty() => _ = bytes.remove(at),
                    _ => bytes.truncate(at),
                }
            }
            body(&bytes);
        }
    }
    for seed in 1..=rounds * 4 {
        let mut seeded = Seeded(seed * 0x85eb_ca6b);
        let len = seeded.below(24);
        let bytes: Vec<u8> = (0..len).map(|_| SIGNS[seeded.below(SIGNS.len())]).collect();
        body(&bytes);
    }
}

#[test]
fn trigger_json() {
    run(fuzz::trigger_json, JSON, 300);
}

#[test]
fn crontab() {
    run(fuzz::crontab, EXPRESSIONS, 400);
}

#[test]
fn cron_field() {
    run(
        fuzz::cron_field,
        &[
            "*",
            "*/7",
            "1-5",
            "2nd fri,last",
            "jan-mar",
            "mon,wed",
            "2020-2030/4",
            " 1 , 2 ",
        ],
        100,
    );
}

#[test]
fn date_string() {
    run(fuzz::date_string, DATES, 2000);
}

#[test]
fn json_line() {
    let lines: Vec<String> = JSON
        .iter()
        .map(|json| {
            format!(r#"{{"id":"a","trigger":{json},"now":"2026-03-08T06:59:59.999999Z","n":3}}"#)
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    run(fuzz::json_line, &lines, 150);
}
