//! The descriptors that a call waits for, as ppoll(2) takes them.

/// What a call waits for.
pub(in crate::record) struct DescriptorWatch {
    /// An array of `struct pollfd`.
    pub(in crate::record) fds: Vec<u8>,
    pub(in crate::record) count: u64,
    /// A timespec in bytes; `None` to wait without a limit.
    pub(in crate::record) timeout: Option<[u8; 16]>,
    /// The socket option that may set a limit as well.
    pub(in crate::record) socket_limit: Option<i32>,
    /// Address and size of the signal mask during the wait; null to keep the task's.
    pub(in crate::record) mask: (u64, u64),
}

impl DescriptorWatch {
    /// Iterates over the descriptors and the events that are waited for.
    pub(in crate::record) fn descriptors(&self) -> impl Iterator<Item = (i32, i16)> + Clone {
        self.fds.chunks_exact(8).map(|one| {
            let fd = i32::from_ne_bytes([one[0], one[1], one[2], one[3]]);
            (fd, i16::from_ne_bytes([one[4], one[5]]))
        })
    }

    /// Whether another signal mask than the task's applies during the wait.
    pub(in crate::record) fn has_mask(&self) -> bool {
        self.mask.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_lists_its_descriptors() {
        let fds =
            [3_i32, 7].iter().flat_map(|fd| [&fd.to_ne_bytes()[..], &1_i16.to_ne_bytes(), &[0; 2]].concat());
        let watch =
            DescriptorWatch { fds: fds.collect(), count: 2, timeout: None, socket_limit: None, mask: (0, 8) };
        assert_eq!(watch.descriptors().collect::<Vec<_>>(), [(3, 1), (7, 1)]);
        assert!(!watch.has_mask() && DescriptorWatch { mask: (64, 8), ..watch }.has_mask());
    }
}
