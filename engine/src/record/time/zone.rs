//! Time zones, and the ends of days, months and so on in them: where the date changes.

use std::ffi::OsStr;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::clocks::SECOND;
use super::past::Stamp;

/// Where the system has its zones, and which one is in force (tzset(3)).
const ZONES: &str = "/usr/share/zoneinfo";
const LOCAL: &str = "/etc/localtime";

/// A time zone.
#[derive(Clone, Debug)]
pub(in crate::record) struct Zone(TimeZone);

impl Zone {
    pub(in crate::record) const UTC: Self = Self(TimeZone::UTC);

    /// Returns the zone that is in force with this value of `TZ`: without one, the system's. UTC if it cannot be read.
    pub(in crate::record) fn in_force(value: Option<&OsStr>) -> Self {
        value.map_or_else(|| Self::in_file(Path::new(LOCAL)), Self::named).unwrap_or(Self::UTC)
    }

    /// Returns the zone for which a value of `TZ` stands: a name, a path, or a rule.
    fn named(value: &OsStr) -> Option<Self> {
        let text = value.to_str()?;
        let name = text.strip_prefix(':').unwrap_or(text);
        if name.is_empty() {
            return None;
        }
        Self::in_file(&Path::new(ZONES).join(name)).or_else(|| TimeZone::posix(name).ok().map(Self))
    }

    fn in_file(path: &Path) -> Option<Self> {
        TimeZone::tzif("", &std::fs::read(path).ok()?).ok().map(Self)
    }

    /// Whether the system knows a zone by this name.
    pub(in crate::record) fn is_known(name: &str) -> bool {
        Path::new(ZONES).join(name).is_file()
    }
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum End {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
    /// The zone's present offset, as daylight-saving time begins or ends.
    Offset,
    /// The one after it.
    NextOffset,
}

impl End {
    /// Those within a month.
    pub(in crate::record) const NEAR: [Self; 5] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month];
    /// Those within a year or so.
    pub(in crate::record) const FAR: [Self; 3] = [Self::Year, Self::Offset, Self::NextOffset];

    /// Returns what begins at the first such end after a point in time; `None` if there is no such end.
    pub(in crate::record) fn after(self, now: Stamp, zone: &Zone) -> Option<Begin> {
        let now = Timestamp::from_nanosecond(now).ok()?;
        let today = zone.0.to_datetime(now).date();
        let begin = |date: Date| Some(zone.0.to_zoned_datetime(date.at(0, 0, 0, 0)).ok()?.timestamp());
        let at = match self {
            Self::Second => whole(now, 1)?,
            Self::Minute => whole(now, 60)?,
            Self::Hour => whole(now, 3600)?,
            Self::Day => begin(today.tomorrow().ok()?)?,
            Self::Month => begin(today.first_of_month().checked_add(1.month()).ok()?)?,
            Self::Year => begin(today.first_of_year().checked_add(1.year()).ok()?)?,
            Self::Offset => zone.0.following(now).next()?.timestamp(),
            Self::NextOffset => zone.0.following(now).nth(1)?.timestamp(),
        };
        Some(Begin { at: at.as_nanosecond(), told: told(self, at, zone) })
    }
}

/// A point in time at which something begins.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::record) struct Begin {
    pub(in crate::record) at: Stamp,
    /// In words.
    pub(in crate::record) told: String,
}

/// Returns the next point in time that is a multiple of so many seconds.
fn whole(now: Timestamp, seconds: i64) -> Option<Timestamp> {
    let floor = now.as_nanosecond().div_euclid(i128::from(seconds) * i128::from(SECOND));
    Timestamp::from_second((i64::try_from(floor).ok()? + 1).checked_mul(seconds)?).ok()
}

fn told(end: End, at: Timestamp, zone: &Zone) -> String {
    let what = match end {
        End::Second => "the end of a second",
        End::Minute => "the end of a minute",
        End::Hour => "the end of an hour",
        End::Day => "the end of a day",
        End::Month => "the end of a month",
        End::Year => "the end of a year",
        End::Offset | End::NextOffset => "the clocks change",
    };
    format!("{what}, {}", at.to_zoned_datetime(zone.0.clone()).strftime("%Y-%m-%d %H:%M:%S %Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::in_force(Some(OsStr::new(name)))
    }

    /// Returns the next end after a time of 2026 in UTC.
    fn after(end: End, now: &str, zone: &Zone) -> String {
        let now: Timestamp = format!("2026-{now}Z").parse().unwrap();
        let next = end.after(now.as_nanosecond(), zone);
        next.map_or_else(String::new, |next| Timestamp::from_nanosecond(next.at).unwrap().to_string())
    }

    #[test]
    fn ends_are_the_next_ones() {
        for (end, next) in [
            (End::Second, "2026-02-27T22:59:59Z"),
            (End::Minute, "2026-02-27T23:00:00Z"),
            (End::Hour, "2026-02-27T23:00:00Z"),
            (End::Day, "2026-02-28T00:00:00Z"),
            (End::Month, "2026-03-01T00:00:00Z"),
            (End::Year, "2027-01-01T00:00:00Z"),
            (End::Offset, ""),
        ] {
            assert_eq!(after(end, "02-27T22:59:58.25", &Zone::UTC), next, "{end:?}");
        }
        assert_eq!(after(End::Second, "02-27T22:59:58", &Zone::UTC), "2026-02-27T22:59:59Z");
    }

    #[test]
    fn ends_are_those_of_the_zone() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        for (end, next) in [
            (End::Day, "2026-02-27T23:00:00Z"),
            (End::Month, "2026-02-28T23:00:00Z"),
            (End::Offset, "2026-03-29T01:00:00Z"),
            (End::NextOffset, "2026-10-25T01:00:00Z"),
        ] {
            assert_eq!(after(end, "02-27T22:30:00", &berlin), next, "{end:?}");
        }
        let told = End::Offset.after(0, &berlin).unwrap().told;
        assert!(told.starts_with("the clocks change, 1970-03-29 03:00:00 "), "{told}");
    }

    #[test]
    fn what_is_no_zone_is_utc() {
        for name in ["", ":", "no such zone", "../../../etc/passwd"] {
            assert_eq!(after(End::Day, "05-05T12:00:00", &zone(name)), "2026-05-06T00:00:00Z", "{name}");
        }
        assert_eq!(after(End::Day, "05-05T12:00:00", &zone("<+0545>-5:45")), "2026-05-05T18:15:00Z");
    }
}
