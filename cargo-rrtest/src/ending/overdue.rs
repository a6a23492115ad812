//! Attempts that did not end, in words.

use std::time::Duration;

use rrtest_engine::ending::Overdue;

/// Why an attempt was not waited for any longer, up to what its threads do.
pub(crate) fn why(why: Overdue) -> String {
    match why {
        Overdue::Limit => "still running at the time limit: ".to_owned(),
        Overdue::NothingDue(next) => {
            format!("nothing can happen before the time limit; the next event is due in {}: ", rounded(next))
        }
        Overdue::Unusual { took, usual } => {
            format!(
                "still running after {} of its own time, where it usually takes {}: ",
                rounded(took),
                rounded(usual)
            )
        }
        Overdue::CutOff(took) => {
            format!("cut off after {}, as the time for all attempts was up: ", rounded(took))
        }
    }
}

/// A duration in its larger units.
fn rounded(duration: Duration) -> String {
    let unit = match duration.as_secs() {
        0 if duration.as_millis() < 10 => Duration::from_micros(100),
        0 => Duration::from_millis(1),
        1..60 => Duration::from_millis(100),
        _ => Duration::from_secs(1),
    };
    let units = duration.as_nanos() / unit.as_nanos();
    let rounded = Duration::from_nanos(u64::try_from(units * unit.as_nanos()).unwrap_or(u64::MAX));
    humantime::format_duration(rounded).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded() {
        for (microseconds, text) in [
            (640, "600us"),
            (4_210, "4ms 200us"),
            (64_210, "64ms"),
            (1_064_210, "1s"),
            (3_599_964_210, "59m 59s"),
        ] {
            assert_eq!(rounded(Duration::from_micros(microseconds)), text);
        }
    }

    #[test]
    fn why_an_attempt_is_given_up() {
        let (took, usual) = (Duration::from_millis(1234), Duration::from_millis(5));
        let text = why(Overdue::Unusual { took, usual });
        assert_eq!(text, "still running after 1s 200ms of its own time, where it usually takes 5ms: ");
    }
}
