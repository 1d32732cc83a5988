//! Triggers as flags.

use std::fmt::Write;

use clap::Args;
use punctual_server::read_trigger;
use punctual_trigger::TriggerError;
use serde_json::{Map, Value, json};

use crate::duration;
use crate::exit::{Code, Failure, Outcome};

/// When a job runs. One of the first five says how; the others go with it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "When")]
pub(crate) struct TriggerFlags {
    /// By fields: "day_of_week=mon-fri hour=9"; finer ones than given are at their least
    #[arg(long, value_name = "FIELDS", group = "kind")]
    pub(crate) cron: Option<String>,
    /// By a crontab expression: "0 3 * * *"
    #[arg(long, value_name = "EXPR", group = "kind")]
    pub(crate) crontab: Option<String>,
    /// Again and again: 90s, 1h30m, 2d
    #[arg(long, value_name = "DURATION", group = "kind")]
    pub(crate) every: Option<String>,
    /// Once: "2026-12-01 10:00:00"
    #[arg(long, value_name = "DATE", group = "kind")]
    pub(crate) at: Option<String>,
    /// As JSON: {"type":"calendarinterval","months":1,"hour":9}
    #[arg(long, value_name = "JSON", group = "kind")]
    pub(crate) trigger: Option<String>,
    /// The zone, by its IANA name: Europe/Paris
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// Not before this date
    #[arg(long, value_name = "DATE")]
    pub(crate) start: Option<String>,
    /// Not after this date
    #[arg(long, value_name = "DATE")]
    pub(crate) end: Option<String>,
    /// Up to so much later, by chance
    #[arg(long, value_name = "DURATION")]
    pub(crate) jitter: Option<String>,
    /// What a clock change does: vixie, apscheduler, or {"gap":"skip|end|shift","fold":"first|second|both"}
    #[arg(long, value_name = "POLICY")]
    pub(crate) dst: Option<String>,
    /// What a crontab expression means: unix or apscheduler
    #[arg(long, value_name = "DIALECT")]
    pub(crate) dialect: Option<String>,
}

fn usage(flag: &str, error: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("{flag}: {error}"))
}

/// JSON on the command line.
pub(crate) fn read_json(flag: &str, text: &str) -> Outcome<Value> {
    serde_json::from_str(text).map_err(|error| {
        usage(flag, format!("not JSON: {error}"))
            .hint("JSON has double quotes; put single ones around it for the shell: '{\"key\": \"value\"}'")
    })
}

/// Seconds, as a whole number where they are one.
fn seconds(flag: &str, text: &str) -> Outcome<Value> {
    let duration = duration::parse(text).map_err(|error| usage(flag, error))?;
    if duration.subsec_nanos() == 0 {
        return Ok(duration.as_secs().into());
    }
    Ok(json!(duration.as_secs_f64()))
}

/// The units of an interval, as large as they go: `90s` is a minute and 30 seconds.
fn interval(text: &str) -> Outcome<Map<String, Value>> {
    let whole = duration::parse(text).map_err(|error| usage("--every", error))?;
    let mut map = Map::new();
    let mut left = whole.as_secs();
    for (unit, length) in [("days", 86_400), ("hours", 3600), ("minutes", 60)] {
        if left >= length {
            map.insert(unit.to_owned(), (left / length).into());
            left %= length;
        }
    }
    if whole.subsec_micros() > 0 {
        let fraction = f64::from(whole.subsec_micros()) / 1e6;
        map.insert("seconds".to_owned(), json!(left as f64 + fraction));
    } else if left > 0 || map.is_empty() {
        map.insert("seconds".to_owned(), left.into());
    }
    Ok(map)
}

/// `day=last fri hour=3` as fields: what has no `=` goes on with the field before it.
fn cron_fields(text: &str) -> Outcome<Map<String, Value>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for word in text.split_whitespace() {
        match (word.split_once('='), fields.last_mut()) {
            (Some((name, value)), _) => {
                if fields.iter().any(|(known, _)| known == name) {
                    return Err(usage("--cron", format!("{name} is given twice")));
                }
                fields.push((name.to_owned(), value.to_owned()));
            }
            (None, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            (None, None) => {
                let message = format!("{word:?} is no field; write \"day_of_week=mon-fri hour=9\"");
                return Err(usage("--cron", message)
                    .hint("for an expression such as \"0 3 * * *\" use --crontab"));
            }
        }
    }
    Ok(fields
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect())
}

impl TriggerFlags {
    /// The trigger's wire form; `None` where no flag says when.
    pub(crate) fn wire(&self) -> Outcome<Option<Map<String, Value>>> {
        let Some(mut map) = self.kind()? else {
            let extra = [
                &self.tz,
                &self.start,
                &self.end,
                &self.jitter,
                &self.dst,
                &self.dialect,
            ];
            if extra.iter().any(|flag| flag.is_some()) {
                return Err(Failure::usage(
                    "--tz, --start, --end, --jitter, --dst and --dialect go with --cron, --crontab, --every, --at or --trigger",
                ));
            }
            return Ok(None);
        };
        let texts = [
            ("timezone", &self.tz),
            ("start_date", &self.start),
            ("end_date", &self.end),
            ("dialect", &self.dialect),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                map.insert(key.to_owned(), text.as_str().into());
            }
        }
        if let Some(text) = &self.jitter {
            map.insert("jitter".to_owned(), seconds("--jitter", text)?);
        }
        if let Some(text) = &self.dst {
            let policy = if text.trim_start().starts_with('{') {
                read_json("--dst", text)?
            } else {
                text.as_str().into()
            };
            map.insert("dst".to_owned(), policy);
        }
        Ok(Some(map))
    }

    fn kind(&self) -> Outcome<Option<Map<String, Value>>> {
        let mut map = Map::new();
        let kind = if let Some(fields) = &self.cron {
            map = cron_fields(fields)?;
            "cron"
        } else if let Some(expr) = &self.crontab {
            map.insert("expr".to_owned(), expr.as_str().into());
            "crontab"
        } else if let Some(every) = &self.every {
            map = interval(every)?;
            "interval"
        } else if let Some(at) = &self.at {
            map.insert("run_date".to_owned(), at.as_str().into());
            "date"
        } else if let Some(text) = &self.trigger {
            return match read_json("--trigger", text)? {
                Value::Object(map) => Ok(Some(map)),
                _ => Err(usage("--trigger", "takes a JSON object")),
            };
        } else {
            return Ok(None);
        };
        map.insert("type".to_owned(), kind.into());
        Ok(Some(map))
    }

    /// The wire form, once a place in a text at fault was pointed out.
    pub(crate) fn checked(&self) -> Outcome<Option<Map<String, Value>>> {
        let wire = self.wire()?;
        if let Some(map) = &wire
            && let Err(error) = read_trigger(map.clone())
            && error.span().is_some()
        {
            return Err(refused(&error));
        }
        Ok(wire)
    }
}

/// A trigger's error, with the place at fault where that is known.
pub(crate) fn refused(error: &TriggerError) -> Failure {
    let mut text = error.to_string();
    if let (Some(value), Some(span)) = (error.value(), error.span())
        && let (Some(before), Some(inside)) = (value.get(..span.start), value.get(span))
    {
        let pad = " ".repeat(before.chars().count());
        let carets = "^".repeat(inside.chars().count().max(1));
        let _ = write!(text, "\n  {value}\n  {pad}{carets}");
    }
    Failure::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_in_large_units() {
        let read = |text| Value::Object(interval(text).unwrap());
        assert_eq!(read("90s"), json!({"minutes": 1, "seconds": 30}));
        assert_eq!(read("1.5"), json!({"seconds": 1.5}));
        assert_eq!(read("25h"), json!({"days": 1, "hours": 1}));
        assert_eq!(read("0"), json!({"seconds": 0}));
    }

    #[test]
    fn cron_fields_may_hold_spaces() {
        let fields = Value::Object(cron_fields("day=last fri hour=3 minute=*/5").unwrap());
        assert_eq!(
            fields,
            json!({"day": "last fri", "hour": "3", "minute": "*/5"})
        );
        assert!(cron_fields("0 3 * * *").is_err());
        assert!(cron_fields("hour=1 hour=2").is_err());
    }
}
