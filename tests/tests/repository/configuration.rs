//! Configuration files that nothing in the test run uses are at least well formed.

use crate::root;

#[test]
fn cross_knows_its_targets() {
    let text = std::fs::read_to_string(root().join("cross.toml")).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let targets = table["target"].as_table().unwrap();
    for target in ["aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"] {
        assert!(targets.contains_key(target), "{target}");
    }
}

#[test]
fn the_yocto_layer_names_the_release_whose_rust_is_new_enough() {
    let layer = root().join("yocto/meta-kith/conf/layer.conf");
    let text = std::fs::read_to_string(layer).unwrap();
    assert!(text.contains("LAYERSERIES_COMPAT_meta-kith = \"wrynose\""));
}

#[test]
fn the_continuous_integration_runs_the_command_of_the_readme() {
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let command = script.lines().last().unwrap();
    assert_eq!(command, "cargo xtask test");
    assert!(readme.contains(command));
}
