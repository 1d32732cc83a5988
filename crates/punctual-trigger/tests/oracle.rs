//! The corpus of `APScheduler`'s meaning, case by case: instants and offsets.

use jiff::{Timestamp, tz::TimeZoneDatabase};
use punctual_trigger::jsonl;
use serde_json::Value;
use std::collections::BTreeMap;

/// An instant and the text of its offset.
fn moment(text: &str) -> (Timestamp, &str) {
    let offset = if text.ends_with('Z') {
        "+00:00"
    } else {
        &text[text.len() - 6..]
    };
    (text.parse().unwrap(), offset)
}

#[test]
fn every_case_agrees() {
    let zones = TimeZoneDatabase::bundled();
    let mut families: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut differences = Vec::new();
    for line in include_str!("data/triggers.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let answer: Value = serde_json::from_str(&jsonl::answer(line, &zones)).unwrap();
        let fires = |value: &Value| -> Option<Vec<String>> {
            let fires = value.get("fires")?.as_array().unwrap();
            Some(
                fires
                    .iter()
                    .map(|fire| fire.as_str().unwrap().to_owned())
                    .collect(),
            )
        };
        let agrees = match (fires(&case), fires(&answer)) {
            (None, None) => true,
            (Some(want), Some(got)) => {
                want.len() == got.len()
                    && want
                        .iter()
                        .zip(&got)
                        .all(|(want, got)| moment(want) == moment(got))
            }
            _ => false,
        };
        assert_eq!(answer["id"], case["id"]);
        let family = case["id"].as_str().unwrap().rsplit_once('-').unwrap().0;
        let (right, all) = families.entry(family.to_owned()).or_default();
        *right += u32::from(agrees);
        *all += 1;
        if !agrees {
            differences.push(format!("{line}\n  {answer}"));
        }
    }
    assert_eq!(families.values().map(|&(_, all)| all).sum::<u32>(), 5862);
    let shown = differences
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        differences.is_empty(),
        "{} differ: {families:#?}\n{shown}",
        differences.len()
    );
}
