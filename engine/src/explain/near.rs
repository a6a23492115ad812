//! The neighbourhood of a script: its preemptions moved a little.

use crate::schedule::script::{Script, When};

/// Returns scripts that differ from one by the place of one preemption, the nearest first, up to so many operations
/// away.
pub fn neighbours(script: &Script, reach: u64) -> impl Iterator<Item = Script> {
    let preemptions: Vec<usize> = (0..script.switches.len())
        .filter(|at| script.switches[*at].preempts() && script.switches[*at].when == When::Before)
        .collect();
    let places = (1..=reach).flat_map(move |far| {
        preemptions.clone().into_iter().flat_map(move |at| [(at, far, true), (at, far, false)])
    });
    places.filter_map(|(at, far, later)| {
        let mut moved = script.clone();
        let ticks = &mut moved.switches[at].at.ticks;
        *ticks = if later {
            ticks.checked_add(far)?
        } else {
            ticks.checked_sub(far).filter(|ticks| *ticks > 0)?
        };
        Some(moved)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::script;

    #[test]
    fn neighbours_come_from_near_to_far_on_both_sides() {
        let found: Vec<u64> = neighbours(&script(&[3]), 4).map(|it| it.switches[0].at.ticks).collect();
        assert_eq!(found, [4, 2, 5, 1, 6, 7], "and none before the first operation");
        assert_eq!(neighbours(&script(&[10, 20]), 2).count(), 8);
        assert_eq!(neighbours(&Script::default(), 9).count(), 0);
    }
}
