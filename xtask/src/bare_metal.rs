//! Runs kith-crypto's self-check (`crypto-core/self-check/`) where there is no operating system: on an emulated Cortex-M4, and
//! in a WebAssembly machine.
//!
//! Nothing but `core` is built for these targets, from its source: a use of `std` or `alloc` anywhere below the self-check
//! does not compile, and no allocator is linked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cargo;
use crate::needs::{DEBIAN_CARGO, DEBIAN_RUSTC};

const PACKAGE: &str = "kith-self-check";

/// Small first, as for a board: what it prints about size and stack is meant to be compared.
const PROFILE: &str = "board";

/// A Cortex-M4F, the smallest kind of board that has the memory for it.
const CORTEX_M4: &str = "thumbv7em-none-eabihf";

const WEB_ASSEMBLY: &str = "wasm32-unknown-unknown";

/// Calls the module's one function; its answer is 0, or the number of the part that failed.
const CALL: &str = "const { readFileSync } = require('node:fs');
const module = readFileSync(process.argv[1]);
WebAssembly.instantiate(module).then(({ instance }) => {
    const failed = instance.exports.self_check();
    console.log(`${module.length} bytes: ${failed === 0 ? 'Ok(())' : `part ${failed} failed`}`);
    process.exitCode = failed;
});";

/// Builds it for the Cortex-M4, prints how large it is, and runs it.
pub(crate) fn cortex_m4() -> Result<()> {
    let folder = cargo::root()?.join("crypto-core/self-check");
    let flags = format!(
        "-Clinker=arm-none-eabi-ld -Clinker-flavor=ld -Clink-arg=-L{} -Clink-arg=-Tlink.x -Cstrip=none",
        folder.display(),
    );
    let program = build(CORTEX_M4, &flags)?;
    cargo::run(Command::new("arm-none-eabi-size").arg(&program))?;
    let mut emulator = Command::new("qemu-system-arm");
    emulator
        .args(["-cpu", "cortex-m4", "-machine", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "null"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(program);
    cargo::run(&mut emulator)
}

/// Builds it as a module and runs it in Node, which prints how large it is.
pub(crate) fn web_assembly() -> Result<()> {
    let module = build(WEB_ASSEMBLY, "-Clinker=wasm-ld -Clink-arg=--export=self_check -Clink-arg=--no-entry")?;
    cargo::run(Command::new("node").args(["--eval", CALL]).arg(module))
}

/// Builds the self-check with Debian's compiler and gives the program's path.
fn build(target: &str, flags: &str) -> Result<PathBuf> {
    let target_folder = cargo::target()?.join("bare-metal");
    let mut command = Command::new(DEBIAN_CARGO);
    command
        .current_dir(cargo::root()?)
        .args(["build", "--locked", "--package", PACKAGE, "--bin", PACKAGE])
        .args(["--profile", PROFILE, "--target", target, "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(&target_folder)
        .env("RUSTFLAGS", flags)
        .env("RUSTC", DEBIAN_RUSTC)
        // `-Z` on a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Set by the toolchain that runs this program; another toolchain is meant here.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    cargo::run(&mut command)?;
    let folder = target_folder.join(target).join(PROFILE);
    Ok(folder.join(file_name(target)))
}

fn file_name(target: &str) -> PathBuf {
    let name = Path::new(PACKAGE);
    if target == WEB_ASSEMBLY { name.with_extension("wasm") } else { name.to_owned() }
}
