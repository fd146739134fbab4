//! What the commands need beside Rust, and the Debian packages that hold it.

use std::path::{Path, PathBuf};

/// How much of the tree is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// `cargo xtask demo`.
    Demo,
    /// `cargo xtask test quick`.
    Quick,
    /// `cargo xtask test`, `cargo xtask soak` and `cargo xtask fuzz`.
    All,
}

/// One thing that has to be there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The least tier that needs it.
    tier: Tier,
    /// A program's name, looked for in PATH, or an absolute path.
    thing: &'static str,
    /// The Debian package that holds it.
    pub(crate) package: &'static str,
    /// What it is for.
    pub(crate) reason: &'static str,
}

const fn need(tier: Tier, thing: &'static str, package: &'static str, reason: &'static str) -> Need {
    Need { tier, thing, package, reason }
}

/// Debian's own Rust builds `core` for the bare-metal target from its packaged source.
pub(crate) const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// The compiler that belongs to [`DEBIAN_CARGO`].
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

const NEEDS: &[Need] = &[
    need(Tier::Demo, "dbus-daemon", "dbus-daemon", "each device has a message bus of its own"),
    need(Tier::Demo, "setpriv", "util-linux", "started programs end with the one that started them"),
    need(Tier::Quick, "/usr/bin/python3", "python3", "an independent reader opens backups"),
    need(
        Tier::Quick,
        "/usr/lib/python3/dist-packages/cryptography",
        "python3-cryptography",
        "that reader's cryptography",
    ),
    need(Tier::Quick, "/usr/lib/python3/dist-packages/dbus", "python3-dbus", "a program that is none of ours answers"),
    need(Tier::Quick, "/usr/lib/python3/dist-packages/gi", "python3-gi", "that program's main loop"),
    need(Tier::Quick, "/usr/lib/polkit-1/polkitd", "polkitd", "it decides who may do what"),
    need(Tier::Quick, "nats-server", "nats-server", "signaling servers share their devices over it"),
    need(Tier::All, "turnserver", "coturn", "links are tried over a real relay"),
    need(Tier::All, "faketime", "faketime", "credentials end without anybody waiting for it"),
    need(Tier::All, "ip", "iproute2", "devices stand behind routers of their own"),
    need(Tier::All, "nft", "nftables", "those routers translate addresses and lose packets"),
    need(Tier::All, "sysctl", "procps", "those routers forward"),
    need(Tier::All, "node", "nodejs", "the signaling server is measured beside one that npm has"),
    need(Tier::All, "npm", "npm", "it fetches that one, and what checks pages for accessibility"),
    need(Tier::All, "chromium", "chromium", "the kiosk's pages are used in a real browser"),
    need(Tier::All, "chromedriver", "chromium-driver", "it is driven from the tests"),
    need(Tier::All, "c++", "g++", "libFuzzer is compiled"),
    need(Tier::All, "mmdebstrap", "mmdebstrap", "packages are installed on machines of the tests' own"),
    need(Tier::All, "/usr/share/doc/python3-venv", "python3-venv", "the linter of recipes has a place of its own"),
    need(Tier::All, "busctl", "systemd", "the running service is asked for its interfaces"),
    need(Tier::All, "systemd-analyze", "systemd", "the units are checked"),
    need(Tier::All, DEBIAN_CARGO, "cargo-web", "the self-check is built for bare metal"),
    need(Tier::All, DEBIAN_RUSTC, "rustc-web", "the self-check is built for bare metal"),
    need(Tier::All, "/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "rust-web-src", "the source of `core`"),
    need(Tier::All, "arm-none-eabi-ld", "binutils-arm-none-eabi", "it is linked for a Cortex-M4"),
    need(Tier::All, "qemu-system-arm", "qemu-system-arm", "it runs there"),
    need(Tier::All, "wasm-ld", "lld", "it is linked as WebAssembly; node runs it"),
];

/// The needs of a tier that this machine does not meet.
pub(crate) fn missing(tier: Tier) -> Vec<&'static Need> {
    let folders = search_folders();
    NEEDS.iter().filter(|need| need.tier <= tier && !is_present(need.thing, &folders)).collect()
}

fn is_present(thing: &str, folders: &[PathBuf]) -> bool {
    // Joining an absolute path gives that path.
    folders.iter().any(|folder| folder.join(thing).exists())
}

/// PATH, and the folders that Debian leaves out of it for everybody but root.
fn search_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].into_iter().map(|folder| Path::new(folder).to_owned());
    std::env::split_paths(&path).chain(system).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_tier_needs_all_that_a_smaller_one_needs() {
        let count = |tier| NEEDS.iter().filter(|need| need.tier <= tier).count();
        assert!(count(Tier::Demo) <= count(Tier::Quick));
        assert_eq!(count(Tier::All), NEEDS.len());
    }

    #[test]
    fn programs_are_found_by_name_and_files_by_path() {
        let folders = [PathBuf::from("/usr/bin"), PathBuf::from("/bin")];
        assert!(is_present("env", &folders));
        assert!(is_present("/etc/passwd", &folders));
        assert!(!is_present("no-such-program", &folders));
    }
}
