//! libFuzzer with `kith_fuzz::STORE`.
#![no_main]

use kith_fuzz::STORE;

libfuzzer_sys::fuzz_target!(init: STORE.write_seeds(), |input: &[u8]| {
    (STORE.run)(input);
});
