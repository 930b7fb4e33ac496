//! What is read next, and what is at hand.

use std::collections::VecDeque;

/// Slots and stripes, by number. `S` is a slot, `E` what a failed read says. Lists are short: a stripe is looked for in as many
/// entries as there are slots.
#[derive(Debug)]
pub(super) struct Schedule<S, E> {
    /// Announced and not begun, in order. A stripe may stand here twice.
    queue: VecDeque<usize>,
    free: Vec<S>,
    filling: Vec<Filling>,
    /// In the order in which they were filled. A failed read has given its slot back.
    filled: Vec<(usize, Result<S, E>)>,
    /// Stripes that somebody waits for.
    demanded: Vec<usize>,
    /// Whether a stripe is in the current announcement, or has been demanded since.
    wanted: Vec<bool>,
}

/// A read on its way.
#[derive(Debug, Clone, Copy)]
struct Filling {
    stripe: usize,
    /// Whether it began before the current announcement. What goes wrong with it belongs to a pass that is over.
    early: bool,
}

impl<S, E> Schedule<S, E> {
    /// For `stripes` stripes and `slots` to fill.
    pub(super) fn new(stripes: usize, slots: Vec<S>) -> Schedule<S, E> {
        Schedule {
            queue: VecDeque::new(),
            free: slots,
            filling: Vec::new(),
            filled: Vec::new(),
            demanded: Vec::new(),
            wanted: vec![false; stripes],
        }
    }

    /// Replaces what will be used. What is at hand or being read serves its first use; what is no longer wanted makes room, and
    /// what could not be read is tried again.
    pub(super) fn announce(&mut self, stripes: impl Iterator<Item = usize>) {
        self.filled.retain(|(_, slot)| slot.is_ok());
        self.filling.iter_mut().for_each(|filling| filling.early = true);
        self.queue.clear();
        self.wanted.fill(false);
        for stripe in self.demanded.iter().copied().chain(stripes) {
            self.wanted[stripe] = true;
            self.queue.push_back(stripe);
        }
        let filling = self.filling.iter().map(|filling| filling.stripe);
        for stripe in filling.chain(self.filled.iter().map(|(stripe, _)| *stripe)) {
            if let Some(first) = self.queue.iter().position(|queued| *queued == stripe) {
                self.queue.remove(first);
            }
        }
        let Schedule { filled, free, wanted, .. } = self;
        for (_, slot) in filled.extract_if(.., |(stripe, _)| !wanted[*stripe]) {
            free.extend(slot.ok());
        }
    }

    /// The stripe to read next, and the slot to read it into.
    pub(super) fn next(&mut self) -> Option<(usize, S)> {
        let stripe = *self.queue.front()?;
        // Its second use waits until the first is over.
        if self.is_at_hand(stripe) {
            return None;
        }
        let slot = self.free.pop()?;
        self.queue.pop_front();
        self.filling.push(Filling { stripe, early: false });
        Some((stripe, slot))
    }

    /// Notes that a read has ended; `failed` is what went wrong. A read that failed and had begun before the announcement is
    /// begun again.
    pub(super) fn finish(&mut self, stripe: usize, slot: S, failed: Option<E>) {
        let early = self.filling.extract_if(.., |filling| filling.stripe == stripe).any(|it| it.early);
        match failed {
            _ if !self.wanted[stripe] => self.free.push(slot),
            None => self.filled.push((stripe, Ok(slot))),
            Some(_) if early => {
                self.free.push(slot);
                self.queue.push_front(stripe);
            }
            Some(error) => {
                self.free.push(slot);
                self.filled.push((stripe, Err(error)));
            }
        }
    }

    /// Notes that somebody waits for `stripe`, and does so until [`Schedule::take`] gives it.
    pub(super) fn demand(&mut self, stripe: usize) {
        self.demanded.push(stripe);
        self.wanted[stripe] = true;
    }

    /// A demanded stripe, once it is at hand. If nobody has begun to read it, it comes next.
    pub(super) fn take(&mut self, stripe: usize) -> Option<Result<S, E>> {
        if let Some(place) = self.filled.iter().position(|(filled, _)| *filled == stripe) {
            if let Some(waiting) = self.demanded.iter().position(|demanded| *demanded == stripe) {
                self.demanded.swap_remove(waiting);
            }
            return Some(self.filled.remove(place).1);
        }
        if self.is_filling(stripe) {
            return None;
        }
        if self.queue.front() != Some(&stripe) {
            if let Some(place) = self.queue.iter().position(|queued| *queued == stripe) {
                self.queue.remove(place);
            }
            self.queue.push_front(stripe);
        }
        if self.free.is_empty() && self.filling.is_empty() {
            self.make_room();
        }
        None
    }

    /// Takes a slot back.
    pub(super) fn release(&mut self, slot: S) {
        self.free.push(slot);
    }

    /// Gives up what was read last, which is used last; it is read again after what comes first in the queue.
    fn make_room(&mut self) {
        let spare = |(stripe, slot): &(usize, Result<S, E>)| slot.is_ok() && !self.demanded.contains(stripe);
        if let Some(place) = self.filled.iter().rposition(spare) {
            let (stripe, slot) = self.filled.remove(place);
            self.free.extend(slot.ok());
            self.queue.insert(1.min(self.queue.len()), stripe);
        }
    }

    fn is_at_hand(&self, stripe: usize) -> bool {
        self.is_filling(stripe) || self.filled.iter().any(|(filled, _)| *filled == stripe)
    }

    fn is_filling(&self, stripe: usize) -> bool {
        self.filling.iter().any(|filling| filling.stripe == stripe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Numbers = Schedule<usize, &'static str>;

    fn read_all(schedule: &mut Numbers) -> Vec<usize> {
        let mut read = Vec::new();
        while let Some((stripe, slot)) = schedule.next() {
            schedule.finish(stripe, slot, None);
            read.push(stripe);
        }
        read
    }

    fn used(schedule: &mut Numbers, stripe: usize) -> Vec<usize> {
        schedule.demand(stripe);
        let mut read = Vec::new();
        loop {
            if let Some(slot) = schedule.take(stripe) {
                schedule.release(slot.unwrap());
                return read;
            }
            let (stripe, slot) = schedule.next().expect("what is demanded can be read");
            schedule.finish(stripe, slot, None);
            read.push(stripe);
        }
    }

    #[test]
    fn stripes_are_read_in_the_announced_order_as_slots_come_free() {
        let mut schedule = Numbers::new(5, vec![0, 1, 2]);
        schedule.announce([3, 1, 4, 0, 3].into_iter());
        assert_eq!(read_all(&mut schedule), [3, 1, 4]);
        assert!(used(&mut schedule, 3).is_empty());
        assert_eq!(read_all(&mut schedule), [0]);
        for (stripe, next) in [(1, vec![3]), (4, vec![]), (0, vec![]), (3, vec![])] {
            assert!(used(&mut schedule, stripe).is_empty(), "{stripe} was at hand");
            assert_eq!(read_all(&mut schedule), next);
        }
    }

    #[test]
    fn a_second_use_waits_for_the_first() {
        let mut schedule = Numbers::new(2, vec![0, 1, 2]);
        schedule.announce([0, 1, 0, 1].into_iter());
        assert_eq!(read_all(&mut schedule), [0, 1]);
        assert!(used(&mut schedule, 0).is_empty());
        assert_eq!(read_all(&mut schedule), [0]);
    }

    #[test]
    fn a_new_announcement_keeps_what_it_wants() {
        let mut schedule = Numbers::new(6, vec![0, 1, 2]);
        schedule.announce([0, 1, 2].into_iter());
        let (first, slot) = schedule.next().unwrap();
        read_all(&mut schedule);
        schedule.announce([2, 5, 2].into_iter());
        schedule.finish(first, slot, None);
        assert_eq!(read_all(&mut schedule), [5], "2 is at hand, and its second use waits");
        assert!(used(&mut schedule, 2).is_empty());
        assert_eq!(read_all(&mut schedule), [2]);
    }

    #[test]
    fn a_failed_read_is_told_to_who_asks_and_tried_again() {
        let mut schedule = Numbers::new(2, vec![0]);
        schedule.announce([0, 1].into_iter());
        let (stripe, slot) = schedule.next().unwrap();
        schedule.finish(stripe, slot, Some("broken"));
        assert_eq!(read_all(&mut schedule), [1], "the slot is free again");
        schedule.demand(0);
        assert_eq!(schedule.take(0), Some(Err("broken")));
        assert_eq!(used(&mut schedule, 0), [0]);

        schedule.announce([0].into_iter());
        let (stripe, slot) = schedule.next().unwrap();
        schedule.finish(stripe, slot, Some("broken"));
        schedule.announce([0].into_iter());
        assert_eq!(used(&mut schedule, 0), [0], "a new announcement forgets what failed before");
    }

    #[test]
    fn a_read_that_began_before_an_announcement_does_not_fail_after_it() {
        let mut schedule = Numbers::new(2, vec![0, 1]);
        schedule.announce([0, 1].into_iter());
        let (stripe, slot) = schedule.next().unwrap();
        schedule.announce([1, 0].into_iter());
        schedule.demand(0);
        assert_eq!(schedule.take(0), None, "it is on its way");
        schedule.finish(stripe, slot, Some("broken"));
        assert_eq!(schedule.take(0), None, "it is read again");
        let (stripe, slot) = schedule.next().unwrap();
        assert_eq!(stripe, 0);
        schedule.finish(stripe, slot, Some("still broken"));
        assert_eq!(schedule.take(0), Some(Err("still broken")));
        assert_eq!(used(&mut schedule, 1), [1]);
    }

    proptest! {
        #[test]
        fn whatever_is_announced_what_is_demanded_comes_and_no_slot_is_lost(
            slots in 1usize..5,
            steps in prop::collection::vec(
                (prop::option::weighted(0.2, prop::collection::vec(0usize..9, 0..12)), 0usize..9, 0usize..4),
                1..60,
            ),
        ) {
            let mut schedule = Numbers::new(9, (0..slots).collect());
            for (announced, demanded, reads) in steps {
                if let Some(announced) = announced {
                    schedule.announce(announced.into_iter());
                }
                for _ in 0..reads {
                    if let Some((stripe, slot)) = schedule.next() {
                        schedule.finish(stripe, slot, None);
                    }
                }
                // One read serves a demand, or none does.
                prop_assert!(used(&mut schedule, demanded).len() <= 1);
            }
            schedule.announce(std::iter::empty());
            let mut free = schedule.free.clone();
            free.sort_unstable();
            prop_assert_eq!(free, (0..slots).collect::<Vec<_>>());
        }
    }
}
