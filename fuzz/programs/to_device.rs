//! libFuzzer with `kith_fuzz::TO_DEVICE`.
#![no_main]

use kith_fuzz::TO_DEVICE;

libfuzzer_sys::fuzz_target!(init: TO_DEVICE.write_seeds(), |input: &[u8]| {
    (TO_DEVICE.run)(input);
});
