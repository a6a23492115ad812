//! Which tests the user wants: by name, by filter expression, by partition.

use super::filterset::Filterset;
use super::libtest::Filter;
use super::partition::Partition;
use super::test::Test;

/// Which tests the user wants. All of it applies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// Names, in libtest's language.
    pub(crate) filter: Filter,
    /// Filter expressions, of which any will do; empty means all.
    pub(crate) filtersets: Vec<Filterset>,
    /// What of that is this machine's.
    pub(crate) partition: Option<Partition>,
}

impl Choice {
    /// Whether filter expressions accept the test of this name: `test`, or one of several together.
    pub(crate) fn in_filtersets(&self, test: &Test, name: &str) -> bool {
        self.filtersets.is_empty() || self.filtersets.iter().any(|filterset| filterset.accepts(test, name))
    }
}
