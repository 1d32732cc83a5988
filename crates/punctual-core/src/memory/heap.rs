//! An indexed 4-ary heap: change and removal by slot, in logarithmic time.

use std::cmp::Ordering;

/// Where a slot is not in a heap.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Slots by time. Positions live in an array that all heaps of a store share, for a slot is in one heap at most.
#[derive(Debug, Default)]
pub(super) struct Heap {
    nodes: Vec<(i64, u32)>,
}

/// How slots of the same time are ordered.
pub(super) trait Ties {
    fn compare(&self, a: u32, b: u32) -> Ordering;
}

impl Heap {
    pub(super) fn first(&self) -> Option<(i64, u32)> {
        self.nodes.first().copied()
    }

    /// Puts `slot` in at `time`, moves it there, or with `None` takes it out.
    pub(super) fn set(
        &mut self,
        slot: u32,
        time: Option<i64>,
        positions: &mut [u32],
        ties: &impl Ties,
    ) {
        let at = positions[slot as usize];
        match (at, time) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(time)) => {
                self.nodes.push((time, slot));
                self.rise(self.nodes.len() - 1, positions, ties);
            }
            (at, Some(time)) => {
                self.nodes[at as usize].0 = time;
                let at = self.rise(at as usize, positions, ties);
                self.sink(at, positions, ties);
            }
            (at, None) => {
                let at = at as usize;
                self.nodes.swap_remove(at);
                positions[slot as usize] = NOWHERE;
                if at < self.nodes.len() {
                    let at = self.rise(at, positions, ties);
                    self.sink(at, positions, ties);
                }
            }
        }
    }

    fn less(&self, a: usize, b: usize, ties: &impl Ties) -> bool {
        let ((time_a, slot_a), (time_b, slot_b)) = (self.nodes[a], self.nodes[b]);
        time_a
            .cmp(&time_b)
            .then_with(|| ties.compare(slot_a, slot_b))
            == Ordering::Less
    }

    fn rise(&mut self, mut at: usize, positions: &mut [u32], ties: &impl Ties) -> usize {
        while at > 0 {
            let parent = (at - 1) / 4;
            if !self.less(at, parent, ties) {
                break;
            }
            self.nodes.swap(at, parent);
            positions[self.nodes[at].1 as usize] = at as u32;
            at = parent;
        }
        positions[self.nodes[at].1 as usize] = at as u32;
        at
    }

    fn sink(&mut self, mut at: usize, positions: &mut [u32], ties: &impl Ties) {
        loop {
            let children = at * 4 + 1..(at * 4 + 5).min(self.nodes.len());
            let Some(least) = children.reduce(|a, b| if self.less(b, a, ties) { b } else { a })
            else {
                break;
            };
            if !self.less(least, at, ties) {
                break;
            }
            self.nodes.swap(at, least);
            positions[self.nodes[at].1 as usize] = at as u32;
            at = least;
        }
        positions[self.nodes[at].1 as usize] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    struct BySlot;

    impl Ties for BySlot {
        fn compare(&self, a: u32, b: u32) -> Ordering {
            a.cmp(&b)
        }
    }

    proptest! {
        /// Whatever is put in, moved and taken out, the first is the least of what is in.
        #[test]
        fn first_is_least(changes in proptest::collection::vec((0_u32..40, proptest::option::of(0_i64..20)), 0..400)) {
            let mut heap = Heap::default();
            let mut positions = vec![NOWHERE; 40];
            let mut model = vec![None; 40];
            for (slot, time) in changes {
                heap.set(slot, time, &mut positions, &BySlot);
                model[slot as usize] = time;
                let least = model.iter().zip(0..).filter_map(|(time, slot)| time.map(|time| (time, slot)));
                prop_assert_eq!(heap.first(), least.collect::<BTreeSet<_>>().first().copied());
            }
        }
    }
}
