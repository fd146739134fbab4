//! libFuzzer with `kith_fuzz::INVITE`.
#![no_main]

use kith_fuzz::INVITE;

libfuzzer_sys::fuzz_target!(init: INVITE.write_seeds(), |input: &[u8]| {
    (INVITE.run)(input);
});
