//! `punctual next`: when a trigger would fire. Needs no server.

use std::io::{self, BufRead, BufReader, Read, Write};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use punctual_core::clock::{Clock, SystemClock};
use punctual_server::read_trigger;
use punctual_trigger::{Trigger, jsonl, upcoming};
use serde_json::{Map, Value, json};

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::trigger_flags::{TriggerFlags, refused};

/// The most fires to show.
const FIRES_MAX: usize = 100_000;

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    #[command(flatten)]
    when: TriggerFlags,
    /// How many fires to show
    #[arg(short, value_name = "COUNT", default_value_t = 5)]
    n: usize,
    /// From this moment on [default: now]
    #[arg(long, value_name = "DATE")]
    now: Option<String>,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
    /// Read cases {"id","trigger","now","n"} from stdin, one a line, and answer each with a line
    #[arg(long, exclusive = true)]
    jsonl: bool,
}

/// Shows the next fires of a trigger.
pub(crate) fn run(args: &NextArgs) -> Outcome {
    let zones = TimeZoneDatabase::bundled();
    if args.jsonl {
        return answer_lines(io::stdin().lock(), io::stdout().lock(), &zones);
    }
    if args.n > FIRES_MAX {
        return Err(Failure::usage(format!("-n: takes at most {FIRES_MAX}")));
    }
    let wire = args.when.wire()?.ok_or_else(|| {
        Failure::usage("say when: --cron, --crontab, --every, --at or --trigger")
            .hint("punctual next --cron \"day_of_week=mon-fri hour=9\" --tz Europe/London")
    })?;
    let now = match &args.now {
        None => SystemClock.now(),
        Some(text) => moment(text, args.when.tz.as_deref().unwrap_or("UTC"), &zones)?,
    };
    let trigger = read_trigger(wire).map_err(|error| refused(&error))?;
    let trigger = trigger
        .resolve(now, "UTC", &zones)
        .map_err(|error| refused(&error))?;
    let schedule = trigger.compile(&zones).map_err(|error| refused(&error))?;
    let fires = upcoming(&schedule, now, args.n).map_err(Failure::plain)?;
    let fires: Vec<String> = fires
        .iter()
        .map(|fire| fire.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string())
        .collect();
    let reason = trigger.never_fires_reason(now, &zones);
    if args.json {
        let mut answer = json!({ "description": trigger.describe(), "fires": fires });
        if let Some(reason) = reason {
            answer["never_fires"] = reason.into();
        }
        return output::json(&answer);
    }
    output::line(trigger.describe())?;
    for fire in fires {
        output::line(fire)?;
    }
    if let Some(reason) = reason {
        output::tell(format_args!("no fires: {reason}"));
    }
    Ok(())
}

/// A date string as a moment.
fn moment(text: &str, zone: &str, zones: &TimeZoneDatabase) -> Outcome<Timestamp> {
    let mut map = Map::new();
    map.insert("type".to_owned(), "date".into());
    map.insert("run_date".to_owned(), text.into());
    let read = |map| -> Result<Option<Timestamp>, String> {
        let trigger: Trigger = read_trigger(map).map_err(|error| error.message().to_owned())?;
        let trigger = trigger
            .resolve(Timestamp::UNIX_EPOCH, zone, zones)
            .map_err(|error| error.to_string())?;
        let schedule = trigger.compile(zones).map_err(|error| error.to_string())?;
        schedule
            .next_at_or_after(Timestamp::MIN)
            .map_err(|error| error.to_string())
    };
    match read(map) {
        Ok(Some(moment)) => Ok(moment),
        Ok(None) => Err(Failure::usage(
            "--now: lies beyond the times that can be kept",
        )),
        Err(error) => Err(Failure::usage(format!("--now: {error}"))),
    }
}

/// Answers each line with one line, in order. What is answered is written out whenever the input pauses.
fn answer_lines(input: impl Read, out: impl Write, zones: &TimeZoneDatabase) -> Outcome {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::plain(format!("stdin cannot be read: {error}")))?;
        if read == 0 {
            return out.flush().map_err(|error| Failure::output(&error));
        }
        let answer = match std::str::from_utf8(&line) {
            Ok(text) => jsonl::answer(text.trim_end_matches(['\n', '\r']), zones),
            Err(_) => json!({ "id": Value::Null, "error": "not UTF-8" }).to_string(),
        };
        writeln!(out, "{answer}").map_err(|error| Failure::output(&error))?;
        if input.buffer().is_empty() {
            out.flush().map_err(|error| Failure::output(&error))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_answered() {
        let input = concat!(
            r#"{"id":1,"trigger":{"type":"interval","hours":1},"now":"2026-01-01T00:00:00Z","n":1}"#,
            "\nnonsense\n\n",
            r#"{"id":"x","trigger":{"type":"cron","hour":"24"},"now":"2026-01-01T00:00:00Z"}"#
        );
        let mut out = Vec::new();
        answer_lines(input.as_bytes(), &mut out, &TimeZoneDatabase::bundled()).unwrap();
        let lines: Vec<Value> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[0],
            json!({"id": 1, "fires": ["2026-01-01T01:00:00+00:00"]})
        );
        assert!(lines[1]["id"].is_null() && lines[1]["error"].is_string());
        assert!(lines[2]["error"].is_string());
        assert_eq!(lines[3]["id"], "x");
        assert!(lines[3]["error"].is_string());
    }
}
