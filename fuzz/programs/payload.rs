//! libFuzzer with `kith_fuzz::PAYLOAD`.
#![no_main]

use kith_fuzz::PAYLOAD;

libfuzzer_sys::fuzz_target!(init: PAYLOAD.write_seeds(), |input: &[u8]| {
    (PAYLOAD.run)(input);
});
