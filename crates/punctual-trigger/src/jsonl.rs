//! One JSON line in, one out.
use jiff::tz::TimeZoneDatabase;
/// Answers one line of the protocol.
pub fn answer(line: &str, _zones: &TimeZoneDatabase) -> String {
    line.to_owned()
}
