//! Tells an attempt that is dropped why: its time is over, or nobody waits for it any more.
//!
//! Who ends a try drops its future, and the end of the stack reports how the try ended. A drop runs to its end before
//! anything else does, so a flag of the thread reaches that end through whatever layers lie between, and costs nothing
//! while nothing is late.

use std::cell::Cell;

thread_local! {
    static OVERDUE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `drop`, which drops attempts whose time is over.
pub(crate) fn overdue(drop: impl FnOnce()) {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            OVERDUE.set(self.0);
        }
    }
    let _reset = Reset(OVERDUE.replace(true));
    drop();
}

/// Whether what is being dropped now is overdue.
pub(crate) fn is_overdue() -> bool {
    OVERDUE.try_with(Cell::get).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_dropped_within_is_overdue() {
        struct Late<'a>(&'a Cell<Option<bool>>);
        impl Drop for Late<'_> {
            fn drop(&mut self) {
                self.0.set(Some(is_overdue()));
            }
        }
        let (within, after) = (Cell::new(None), Cell::new(None));
        let late = Late(&within);
        overdue(|| drop(late));
        drop(Late(&after));
        assert_eq!((within.get(), after.get()), (Some(true), Some(false)));
        let panicked = std::panic::catch_unwind(|| overdue(|| std::panic::panic_any(())));
        assert!(panicked.is_err() && !is_overdue());
    }
}
