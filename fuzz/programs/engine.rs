//! libFuzzer with `kith_fuzz::ENGINE`.
#![no_main]

use kith_fuzz::ENGINE;

libfuzzer_sys::fuzz_target!(init: ENGINE.write_seeds(), |input: &[u8]| {
    (ENGINE.run)(input);
});
