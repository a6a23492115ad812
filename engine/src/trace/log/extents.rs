//! Sets of byte ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of byte ranges. No two of those it holds touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Extents {
    /// The ends, by start.
    ends: BTreeMap<u64, u64>,
}

impl Extents {
    /// Add a range; what of it was not there before, ascending.
    pub(super) fn insert(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() {
            return Vec::new();
        }
        let mut gaps = Vec::new();
        let mut at = range.start;
        for part in self.intersect(range.clone()) {
            if at < part.start {
                gaps.push(at..part.start);
            }
            at = part.end;
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        let mut merged = range;
        // Those that overlap or touch it become one with it.
        while let Some((&start, &end)) = self.ends.range(..=merged.end).next_back()
            && end >= merged.start
        {
            self.ends.remove(&start);
            merged = merged.start.min(start)..merged.end.max(end);
        }
        self.ends.insert(merged.start, merged.end);
        gaps
    }

    /// What of a range is in the set, ascending.
    pub(super) fn intersect(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let first = self.ends.range(..=range.start).next_back().map_or(range.start, |(start, _)| *start);
        self.ends
            .range(first..range.end.max(first))
            .map(|(start, end)| (*start).max(range.start)..(*end).min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// Make it empty.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ranges: &[Range<u64>]) -> Vec<(u64, u64)> {
        ranges.iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn what_is_new_is_told() {
        let mut extents = Extents::default();
        assert_eq!(pairs(&extents.insert(10..20)), [(10, 20)]);
        assert_eq!(pairs(&extents.insert(30..40)), [(30, 40)]);
        assert_eq!(pairs(&extents.insert(12..18)), []);
        assert_eq!(pairs(&extents.insert(0..50)), [(0, 10), (20, 30), (40, 50)]);
        assert_eq!(pairs(&extents.insert(50..50)), []);
        assert_eq!(extents.ends, BTreeMap::from([(0, 50)]));
    }

    #[test]
    fn neighbours_become_one() {
        let mut extents = Extents::default();
        for range in [10..20, 30..40, 20..30] {
            extents.insert(range);
        }
        assert_eq!(extents.ends, BTreeMap::from([(10, 40)]));
        assert_eq!(pairs(&extents.insert(5..10)), [(5, 10)]);
        assert_eq!(extents.ends, BTreeMap::from([(5, 40)]));
    }

    #[test]
    fn intersections_are_cut_at_both_ends() {
        let mut extents = Extents::default();
        extents.insert(10..20);
        extents.insert(30..40);
        assert_eq!(pairs(&extents.intersect(15..35)), [(15, 20), (30, 35)]);
        assert_eq!(pairs(&extents.intersect(0..u64::MAX)), [(10, 20), (30, 40)]);
        assert_eq!(pairs(&extents.intersect(20..30)), []);
    }
}
