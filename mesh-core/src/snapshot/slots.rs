//! A vector of shared values by number, in chunks: a copy with one change costs in proportion to one chunk.

use std::sync::Arc;

const CHUNK: usize = 64;

/// Values by slot number. Cloning shares everything; changing a slot copies its chunk of 64 pointers.
#[derive(Debug)]
pub(crate) struct Slots<T>(Vec<Arc<[Option<Arc<T>>; CHUNK]>>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Slots<T> {
    pub(crate) fn get(&self, slot: u32) -> Option<&Arc<T>> {
        let slot = slot as usize;
        self.0.get(slot / CHUNK)?[slot % CHUNK].as_ref()
    }

    pub(crate) fn set(&mut self, slot: u32, value: Option<Arc<T>>) {
        let slot = slot as usize;
        while self.0.len() <= slot / CHUNK {
            self.0.push(Arc::new([const { None }; CHUNK]));
        }
        Arc::make_mut(&mut self.0[slot / CHUNK])[slot % CHUNK] = value;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.iter().flat_map(|chunk| chunk.iter()).flatten()
    }
}

/// Hands out slot numbers by name and takes them back when nobody names them any more.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    by_name: std::collections::HashMap<crate::resource::Name, (u32, usize)>,
    free: Vec<u32>,
    next: u32,
}

impl Numbers {
    /// The number of `name`, with one more holder.
    pub(crate) fn hold(&mut self, name: &str) -> u32 {
        if let Some((slot, holders)) = self.by_name.get_mut(name) {
            *holders += 1;
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.by_name.insert(name.into(), (slot, 1));
        slot
    }

    /// The number of `name`, if anybody holds it.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).map(|(slot, _)| *slot)
    }

    /// One holder less; the number is free again after the last.
    pub(crate) fn release(&mut self, name: &str) {
        let Some((slot, holders)) = self.by_name.get_mut(name) else { return };
        *holders -= 1;
        if *holders == 0 {
            self.free.push(*slot);
            self.by_name.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_copy_shares_every_other_chunk() {
        let mut first = Slots::default();
        for slot in 0..200 {
            first.set(slot, Some(Arc::new(slot)));
        }
        let mut second = first.clone();
        second.set(70, Some(Arc::new(999)));
        assert_eq!((**first.get(70).unwrap(), **second.get(70).unwrap()), (70, 999));
        let shared = first.0.iter().zip(&second.0).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!((shared, first.0.len()), (3, 4));
        assert!(second.get(5_000).is_none());
    }

    #[test]
    fn numbers_are_reused_after_the_last_holder() {
        let mut numbers = Numbers::default();
        let a = numbers.hold("a");
        assert_eq!(numbers.hold("a"), a);
        numbers.release("a");
        assert_eq!(numbers.find("a"), Some(a));
        numbers.release("a");
        assert_eq!(numbers.find("a"), None);
        assert_eq!(numbers.hold("b"), a);
    }
}
