//! The whole engine: a server, a peer and a disk that do what the input says, honestly or not.

mod device;
mod peer;
mod seeds;
mod steps;

use crate::script::Script;
use crate::{Target, Verdict};
use device::Device;

/// Whatever arrives in whichever stage: no panic, nothing acknowledged that is not on disk, nothing kept that was not
/// said inside a proven session, no message over its limit, no timer that is due again at once, and bounded memory.
pub const ENGINE: Target = Target { name: "engine", run, seeds: seeds::all };

/// A longer script only repeats itself.
const STEPS_MAX: usize = 256;

fn run(input: &[u8]) -> Verdict {
    let mut script = Script::new(input);
    let mut device = Device::begin(script.byte());
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        device.step(&mut script);
    }
    Verdict::Read
}
