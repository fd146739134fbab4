//! What an input may cost in memory.

/// Runs `parse` and checks that it never holds more memory than `bytes_max`.
pub(crate) fn within<T>(bytes_max: usize, parse: impl FnOnce() -> T) -> T {
    let mut result = None;
    let cost = allocation_counter::measure(|| result = Some(parse()));
    assert!(cost.bytes_max <= bytes_max as u64, "held {} bytes, {bytes_max} are allowed", cost.bytes_max);
    result.expect("it has run")
}
