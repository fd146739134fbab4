//! libFuzzer with `kith_fuzz::FRAME`.
#![no_main]

use kith_fuzz::FRAME;

libfuzzer_sys::fuzz_target!(init: FRAME.write_seeds(), |input: &[u8]| {
    (FRAME.run)(input);
});
