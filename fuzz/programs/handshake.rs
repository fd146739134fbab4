//! libFuzzer with `kith_fuzz::HANDSHAKE`.
#![no_main]

use kith_fuzz::HANDSHAKE;

libfuzzer_sys::fuzz_target!(init: HANDSHAKE.write_seeds(), |input: &[u8]| {
    (HANDSHAKE.run)(input);
});
