//! libFuzzer with `kith_fuzz::BACKUP`.
#![no_main]

use kith_fuzz::BACKUP;

libfuzzer_sys::fuzz_target!(init: BACKUP.write_seeds(), |input: &[u8]| {
    (BACKUP.run)(input);
});
