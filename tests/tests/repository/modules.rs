//! One idea per module: a long one holds two.

use crate::{files, in_repository};

/// Lines of a module without its tests, wherever those are. The style asks for about 500.
const MODULE_LINES_MAX: usize = 550;

#[test]
fn modules_stay_short() {
    for path in files(".rs") {
        let name = in_repository(&path);
        if name.contains("/tests/") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let lines = source.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= MODULE_LINES_MAX, "{name} has {lines} lines before its tests");
    }
}
