//! Schedules in an attribute, read while the program is compiled.

use jiff::{Timestamp, tz::TimeZoneDatabase};
use punctual_trigger::{Trigger, TriggerError};
use syn::{Error, LitStr, Result};

/// How an attribute says when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cron,
    Crontab,
    Every,
    At,
}

impl Kind {
    pub(crate) fn of(key: &str) -> Option<Self> {
        let all = [Self::Cron, Self::Crontab, Self::Every, Self::At];
        all.into_iter().find(|kind| kind.key() == key)
    }

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Crontab => "crontab",
            Self::Every => "every",
            Self::At => "at",
        }
    }

    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Cron => "hour=3 minute=30",
            Self::Crontab => "30 3 * * *",
            Self::Every => "90s",
            Self::At => "2026-12-24 18:00:00",
        }
    }

    fn trigger(self, text: &str) -> std::result::Result<Trigger, TriggerError> {
        match self {
            Self::Cron => Trigger::cron_fields(text),
            Self::Crontab => Trigger::crontab(text),
            Self::Every => Trigger::every(text),
            Self::At => Trigger::at(text),
        }
    }
}

/// A schedule that is right.
pub(crate) struct Schedule {
    pub(crate) kind: Kind,
    /// The trigger's wire form.
    pub(crate) json: String,
}

impl Schedule {
    /// Reads a text and the name of a zone; the error is at the one of them that is at fault.
    pub(crate) fn read(kind: Kind, text: &LitStr, zone: Option<&LitStr>) -> Result<Self> {
        let refused = |error: TriggerError| {
            let place = match zone {
                Some(zone) if error.field() == Some("timezone") => zone,
                _ => text,
            };
            // Where the field is the whole text, the key says so already.
            let whole = ["expr: ", "run_date: ", "every: ", "timezone: "];
            let text = error.underlined();
            let text = whole
                .iter()
                .find_map(|field| text.strip_prefix(field))
                .unwrap_or(&text);
            Error::new(place.span(), text)
        };
        let mut trigger = kind.trigger(&text.value()).map_err(refused)?;
        if let Some(zone) = zone {
            if let Some(inner) = trigger.timezone() {
                let message = format!(
                    "`{}` names the zone {inner:?} already; give one of them",
                    kind.key()
                );
                return Err(Error::new(zone.span(), message));
            }
            trigger = trigger.with_timezone(&zone.value()).map_err(refused)?;
        }
        // From the beginning of time: the program knows the date, the compiler must not.
        let zones = TimeZoneDatabase::bundled();
        let resolved = trigger.resolve(Timestamp::UNIX_EPOCH, "UTC", &zones);
        let resolved = resolved.map_err(refused)?;
        if let Some(reason) = resolved.never_fires_reason(Timestamp::UNIX_EPOCH, &zones) {
            let message = format!("the job would never run: {reason}");
            return Err(Error::new(text.span(), message));
        }
        Ok(Self {
            kind,
            json: trigger.to_json().to_string(),
        })
    }
}
