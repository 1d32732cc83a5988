//! When a trigger would fire.

use punctual_trigger::upcoming;
use serde_json::{Value, json};

use crate::app::{App, Asked};
use crate::fields::Fields;
use crate::problem::{Answer, Problem, ok};
use crate::wire::{iso, trigger};

/// The most fires one request may ask for.
const FIRES_MAX: u64 = 1000;

pub(super) fn next(app: &App, asked: &Asked<'_>) -> Answer {
    let mut fields = Fields::new(asked.json()?)?;
    fields.only(&[&["trigger", "now", "n"], trigger::KEYS].concat(), &[])?;
    let zones = app.scheduler.zones();
    let given = trigger::take(&mut fields)?;
    let Some(given) = given else {
        let message = "is missing; it takes a trigger such as {\"type\": \"cron\", \"hour\": 9}";
        return Err(Problem::invalid("trigger", message));
    };
    let now = match fields.text("now")? {
        Some(text) => trigger::moment("now", &text, zones.default_zone(), zones)?,
        None => app.scheduler.now(),
    };
    let n = fields.whole("n", FIRES_MAX)?.unwrap_or(5);
    let trigger = given
        .resolve(now, zones.default_zone(), zones.db())
        .map_err(|error| Problem::from(punctual_core::scheduler::Error::from(error)))?;
    let schedule = trigger
        .compile(zones.db())
        .map_err(|error| Problem::from(punctual_core::scheduler::Error::from(error)))?;
    let fires =
        upcoming(&schedule, now, n as usize).map_err(|error| Problem::invalid("trigger", error))?;
    let fires: Vec<Value> = fires.iter().map(|fire| iso(fire).into()).collect();
    let mut answer = json!({
        "fires": fires,
        "description": trigger.describe(),
        "trigger": trigger.to_json(),
    });
    if let Some(reason) = trigger.never_fires_reason(now, zones.db()) {
        answer["never_fires"] = reason.into();
    }
    Ok(ok(&answer))
}
