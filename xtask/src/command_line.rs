//! The command line, read by hand: a parser crate would be compiled before every first command.

use crate::fuzz::Wish;
use crate::needs::Tier;
use crate::steps::OnFailure;
use crate::test::Extent;

/// What `cargo xtask help` prints.
pub(crate) const HELP: &str = "\
cargo xtask demo [--check]                two devices and a server on this machine; --check ends by itself
cargo xtask bench [SUITE]                 figures beside their references; the suites are device, idle, relay,
                                          store and signal; without one, device
cargo xtask test [quick] [--keep-going]   everything that is checked; quick leaves the long tests out
cargo xtask soak [--rounds N]             the benchmarks, the fuzz targets, then simulation, long tests and demo in N rounds;
                                          without N, until it is stopped
cargo xtask fuzz [--minutes N] [--keep] [TARGET]
                                          each fuzz target for N minutes (10); --keep adds what it found to the tests
cargo xtask dist [--development]          the Debian packages, in target/packages; --development makes them of the programs that
                                          `cargo build` has built, as the tests do
cargo xtask yocto                         the list of crates of the Yocto layer, anew from Cargo.lock
cargo xtask setup [demo|quick|all]        the Debian packages that these need (all)
cargo xtask help                          this page";

/// What `bench` measures when nobody says.
pub(crate) const SUITE: &str = "device";

/// Beyond this, a soak is a typing error.
const SOAK_ROUNDS_MAX: u32 = 100_000;

/// A target that runs longer than a week is a typing error.
const FUZZ_MINUTES_MAX: u32 = 7 * 24 * 60;

/// One command with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Bench { suite: String },
    Demo { check: bool },
    Dist { development: bool },
    Fuzz(Wish),
    Help,
    Setup { tier: Tier },
    Soak { rounds: Option<u32> },
    Test { extent: Extent, on_failure: OnFailure },
    Yocto,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let args: Vec<String> = args.collect();
    let mut words = args.iter().map(String::as_str);
    let command = words.next().unwrap_or("help");
    let rest: Vec<&str> = words.collect();
    match (command, rest.as_slice()) {
        ("bench", []) => Ok(Command::Bench { suite: SUITE.to_owned() }),
        ("bench", [suite]) => Ok(Command::Bench { suite: (*suite).to_owned() }),
        ("demo", []) => Ok(Command::Demo { check: false }),
        ("demo", ["--check"]) => Ok(Command::Demo { check: true }),
        ("dist", []) => Ok(Command::Dist { development: false }),
        ("dist", ["--development"]) => Ok(Command::Dist { development: true }),
        ("fuzz", rest) => parse_fuzz(rest),
        ("help" | "--help" | "-h", []) => Ok(Command::Help),
        ("setup", []) => Ok(Command::Setup { tier: Tier::All }),
        ("setup", [tier]) => parse_tier(tier).map(|tier| Command::Setup { tier }),
        ("soak", []) => Ok(Command::Soak { rounds: None }),
        ("soak", ["--rounds", rounds]) => parse_rounds(rounds).map(|rounds| Command::Soak { rounds: Some(rounds) }),
        ("test", rest) => parse_test(rest),
        ("yocto", []) => Ok(Command::Yocto),
        _ => Err(format!("`{}` is not a command", args.join(" "))),
    }
}

fn parse_tier(word: &str) -> Result<Tier, String> {
    match word {
        "demo" => Ok(Tier::Demo),
        "quick" => Ok(Tier::Quick),
        "all" => Ok(Tier::All),
        _ => Err(format!("`{word}` is none of demo, quick, all")),
    }
}

fn parse_rounds(word: &str) -> Result<u32, String> {
    match word.parse() {
        Ok(rounds @ 1..=SOAK_ROUNDS_MAX) => Ok(rounds),
        _ => Err(format!("`{word}` is not a number from 1 to {SOAK_ROUNDS_MAX}")),
    }
}

fn parse_fuzz(words: &[&str]) -> Result<Command, String> {
    let mut wish = Wish::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--keep" => wish.keep = true,
            "--minutes" => match words.next().map(|minutes| minutes.parse()) {
                Some(Ok(minutes @ 1..=FUZZ_MINUTES_MAX)) => wish.minutes = minutes,
                _ => return Err(format!("`--minutes` takes a number from 1 to {FUZZ_MINUTES_MAX}")),
            },
            name if wish.target.is_none() && !name.starts_with('-') => wish.target = Some(name.to_owned()),
            _ => return Err(format!("`fuzz` does not know `{word}`")),
        }
    }
    Ok(Command::Fuzz(wish))
}

fn parse_test(words: &[&str]) -> Result<Command, String> {
    let (mut extent, mut on_failure) = (Extent::All, OnFailure::Stop);
    for word in words {
        match *word {
            "quick" => extent = Extent::Quick,
            "--keep-going" => on_failure = OnFailure::KeepGoing,
            _ => return Err(format!("`test` does not know `{word}`")),
        }
    }
    Ok(Command::Test { extent, on_failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn each_line_of_the_help_is_understood() {
        assert_eq!(parse_line(""), Ok(Command::Help));
        assert_eq!(parse_line("demo"), Ok(Command::Demo { check: false }));
        assert_eq!(parse_line("demo --check"), Ok(Command::Demo { check: true }));
        assert_eq!(parse_line("yocto"), Ok(Command::Yocto));
        assert_eq!(parse_line("dist"), Ok(Command::Dist { development: false }));
        assert_eq!(parse_line("dist --development"), Ok(Command::Dist { development: true }));
        assert_eq!(parse_line("bench"), Ok(Command::Bench { suite: SUITE.to_owned() }));
        assert_eq!(parse_line("bench signal"), Ok(Command::Bench { suite: "signal".to_owned() }));
        assert_eq!(parse_line("soak"), Ok(Command::Soak { rounds: None }));
        assert_eq!(parse_line("soak --rounds 3"), Ok(Command::Soak { rounds: Some(3) }));
        assert_eq!(parse_line("fuzz"), Ok(Command::Fuzz(Wish::default())));
        let wish = Wish { minutes: 3, keep: true, target: Some("frame".to_owned()) };
        assert_eq!(parse_line("fuzz --minutes 3 --keep frame"), Ok(Command::Fuzz(wish)));
        assert_eq!(parse_line("setup"), Ok(Command::Setup { tier: Tier::All }));
        assert_eq!(parse_line("setup quick"), Ok(Command::Setup { tier: Tier::Quick }));
        let (extent, on_failure) = (Extent::Quick, OnFailure::KeepGoing);
        assert_eq!(parse_line("test quick --keep-going"), Ok(Command::Test { extent, on_failure }));
    }

    #[test]
    fn a_mistyped_line_is_refused_and_nothing_runs() {
        for line in [
            "demo --chek",
            "bench a b",
            "soak --rounds 0",
            "soak --rounds",
            "tset",
            "test fast",
            "setup some",
            "fuzz a b",
            "fuzz --minutes",
        ] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
