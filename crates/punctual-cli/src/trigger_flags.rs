//! Triggers as flags.

use clap::Args;
use punctual_server::read_trigger;
use punctual_trigger::{TriggerError, words};
use serde_json::{Map, Value};

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
        if let Some(jitter) = &self.jitter {
            let seconds = words::seconds(jitter).map_err(|error| usage("--jitter", error))?;
            map.insert("jitter".to_owned(), seconds);
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
        if let Some(fields) = &self.cron {
            let map = words::cron_fields(fields).map_err(|error| usage("--cron", error))?;
            return Ok(Some(map));
        }
        if let Some(every) = &self.every {
            let map = words::interval(every).map_err(|error| usage("--every", error))?;
            return Ok(Some(map));
        }
        let mut map = Map::new();
        let kind = if let Some(expr) = &self.crontab {
            map.insert("expr".to_owned(), expr.as_str().into());
            "crontab"
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
    Failure::new(Code::Invalid, error.underlined())
}
