//! What a summary says of single tests, in words.

use crate::attempt::events::{Covered, Explored, NeverEnded, Rate};
use crate::base::words::count;

/// What is said of a test of which nothing is known: in short, and why.
pub(crate) fn never_ended(never: &NeverEnded) -> (&'static str, String) {
    match never.attempts {
        0 => ("never ran", "the time was up before its turn came".to_owned()),
        attempts => (
            "never ended",
            format!(
                "{} {} still running when the time was up",
                count(attempts, "attempt"),
                if attempts == 1 { "was" } else { "were" }
            ),
        ),
    }
}

/// How often a test has failed.
pub(crate) fn rate(rate: &Rate) -> String {
    let Rate { attempts, failures, distinct } = rate;
    let text = format!("{failures} of {}", count(*attempts, "attempt"));
    if *distinct > 1 { format!("{text}, {distinct} different failures") } else { text }
}

/// How far the schedules of a test have been gone through, and whether one fails.
pub(crate) fn explored(explored: &Explored, fails: bool) -> String {
    let Explored { bound, schedules, strayed, complete, at_once, .. } = explored;
    let which = if *complete { "all " } else { "" };
    let what = count(*schedules, "schedule");
    let preemptions = count(*bound as u64, "preemption");
    let mut text = format!("{which}{what} with at most {preemptions}");
    if let Some(times) = at_once {
        text += &format!(" (and sched_yield returning at once at most {times} times in a row)");
    }
    text += ": ";
    text += match (fails, complete) {
        (true, _) => "one fails",
        (false, true) => "none fails",
        (false, false) => "none of these fails",
    };
    if *strayed > 0 {
        text += &format!(
            "; {strayed} more could not be followed: the test behaves differently each time, so there may be others"
        );
    } else if !complete {
        text += "; there are more";
    }
    text
}

/// What guided attempts at a test have covered.
pub(crate) fn covered(covered: &Covered) -> String {
    let Covered { pairs, both_orders, attempts, in_vain, .. } = *covered;
    let orders = match (pairs, both_orders) {
        (0, _) => "no two accesses that could come in either order".to_owned(),
        (1, 1) => "the one pair of accesses that could come in either order did so in both".to_owned(),
        (_, all) if all == pairs => {
            format!("all {pairs} pairs of accesses that could come in either order did so in both")
        }
        _ => format!(
            "{both_orders} of {} of accesses that could come in either order did so in both",
            count(pairs, "pair")
        ),
    };
    let new = match in_vain {
        0 => "and the last attempt that looked for new orders met one".to_owned(),
        _ => format!(
            "no new order in the last {in_vain} of {} that looked for them",
            count(attempts, "attempt")
        ),
    };
    format!("{orders}; {new}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage() {
        let said = |both_orders, pairs, in_vain| {
            covered(&Covered { test: "p::it t".into(), pairs, both_orders, attempts: 5000, in_vain })
        };
        assert_eq!(
            said(14, 17, 812),
            "14 of 17 pairs of accesses that could come in either order did so in both; no new order in the last 812 of 5000 \
             attempts that looked for them"
        );
        assert!(said(17, 17, 1).starts_with("all 17 pairs of accesses"));
        assert!(said(1, 1, 1).starts_with("the one pair of accesses"));
        assert!(said(0, 0, 1).starts_with("no two accesses"));
        assert!(said(1, 2, 0).ends_with("; and the last attempt that looked for new orders met one"));
    }

    #[test]
    fn explorations() {
        let all = Explored {
            test: "t".into(),
            bound: 2,
            schedules: 812,
            strayed: 0,
            complete: true,
            at_once: None,
        };
        assert_eq!(explored(&all, false), "all 812 schedules with at most 2 preemptions: none fails");
        let spinning = explored(&Explored { at_once: Some(40), ..all.clone() }, false);
        assert!(spinning.contains("(and sched_yield returning at once at most 40 times in a row): none"));
        let some = Explored { complete: false, ..all.clone() };
        assert_eq!(
            explored(&some, true),
            "812 schedules with at most 2 preemptions: one fails; there are more"
        );
        let astray = Explored { strayed: 3, ..some };
        assert!(explored(&astray, false).contains("none of these fails; 3 more could not be followed"));
    }
}
