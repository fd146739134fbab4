//! libFuzzer with `kith_fuzz::SESSION`.
#![no_main]

use kith_fuzz::SESSION;

libfuzzer_sys::fuzz_target!(init: SESSION.write_seeds(), |input: &[u8]| {
    (SESSION.run)(input);
});
