//! What computing with secrets leaves on the stack, and how it goes.
//!
//! A value that is erased when it is dropped leaves no trace where it lay last; where it lay before it was moved, and
//! in what the compiler and other crates put aside, it does. All of that lies below the frame that asked for the work.

use core::hint::black_box;

/// Does the work, then overwrites so many bytes of the stack below this call: what the work has used of it.
///
/// `BYTES` is for the caller to choose: how deep the work goes, and how much stack there is.
pub fn wiped<const BYTES: usize, T>(work: impl FnOnce() -> T) -> T {
    let result = below(work);
    wipe::<BYTES>();
    result
}

/// Overwrites so many bytes of the stack below the caller.
#[inline(never)]
pub fn wipe<const BYTES: usize>() {
    let mut area = [0_u8; BYTES];
    // The compiler must believe that somebody reads it.
    black_box(&mut area);
}

/// In a frame of its own, so that what is wiped begins where the work began.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}
