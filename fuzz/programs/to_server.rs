//! libFuzzer with `kith_fuzz::TO_SERVER`.
#![no_main]

use kith_fuzz::TO_SERVER;

libfuzzer_sys::fuzz_target!(init: TO_SERVER.write_seeds(), |input: &[u8]| {
    (TO_SERVER.run)(input);
});
