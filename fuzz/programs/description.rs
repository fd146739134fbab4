//! libFuzzer with `kith_fuzz::DESCRIPTION`.
#![no_main]

use kith_fuzz::DESCRIPTION;

libfuzzer_sys::fuzz_target!(init: DESCRIPTION.write_seeds(), |input: &[u8]| {
    (DESCRIPTION.run)(input);
});
