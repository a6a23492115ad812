//! Attempts that did not end, in words.

use rrtest_engine::ending::Overdue;

use crate::base::words::rounded;

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
        Overdue::CutOff(_) => "cut off, as the time for all attempts was up: ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn why_an_attempt_is_given_up() {
        let (took, usual) = (Duration::from_millis(1234), Duration::from_millis(5));
        let text = why(Overdue::Unusual { took, usual });
        assert_eq!(text, "still running after 1s 200ms of its own time, where it usually takes 5ms: ");
    }
}
