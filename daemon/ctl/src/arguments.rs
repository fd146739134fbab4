//! The command line, and what `--help` says.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::error::CommandError;
use crate::text;

/// How long `send --wait` waits where no time is given.
const WAIT_DEFAULT: &str = "60";

/// The heading of the options that every command takes.
const COMMON: &str = "Common options";

const EXIT_CODES: &str = "\
PEER is a client id, the beginning of one, or a name; it has to mean one contact only. ROOM is a room's id, the
beginning of one, or its name.

Exit codes:
  0  done
  1  refused; the reason is on standard error, with --json on standard output as
     {\"error\": {\"name\": …, \"sentence\": …}}
  2  the command line cannot be carried out as written
  3  the daemon cannot be reached
  4  the messenger is locked, or not set up
  5  what was waited for did not happen in time";

/// Drives the Kith messenger of this device.
#[derive(Clone, Debug, Parser)]
#[command(name = "kithctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    /// Talk to the daemon on the system bus (the default).
    #[arg(long, global = true, help_heading = COMMON, conflicts_with_all = ["session", "bus_address"])]
    pub system: bool,

    /// Talk to the daemon on the session bus.
    #[arg(long, global = true, help_heading = COMMON, conflicts_with = "bus_address")]
    pub session: bool,

    /// Talk to the daemon on the bus at this D-Bus address.
    #[arg(long, global = true, help_heading = COMMON, value_name = "ADDRESS")]
    pub bus_address: Option<String>,

    /// Print one JSON document; `watch`, and `invite` while it waits, print one a line.
    #[arg(long, global = true, help_heading = COMMON)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// Do it.
    On,
    /// Do not.
    Off,
}

/// Which bus the arguments mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus<'a> {
    System,
    Session,
    Address(&'a str),
}

impl Arguments {
    /// The bus. The parser does not see contradictions between options before and after a command.
    pub(crate) fn bus(&self) -> Result<Bus<'_>, CommandError> {
        match (self.system, self.session, &self.bus_address) {
            (_, false, None) => Ok(Bus::System),
            (false, true, None) => Ok(Bus::Session),
            (false, false, Some(address)) => Ok(Bus::Address(address)),
            _ => Err(CommandError::Usage("Write one of --system, --session and --bus-address.".to_owned())),
        }
    }
}

/// How much history is to be kept; 0 is without end.
#[derive(Clone, Debug, Default, Args, PartialEq, Eq)]
pub struct Retention {
    /// Messages of each conversation.
    #[arg(long, value_name = "COUNT")]
    pub messages: Option<u64>,
    /// Bytes of each conversation's messages: 300000, 500k, 20M, 1G.
    #[arg(long, value_name = "SIZE", value_parser = text::bytes)]
    pub bytes: Option<u64>,
    /// Messages of all conversations; the one with the most gives first.
    #[arg(long, value_name = "COUNT")]
    pub total_messages: Option<u64>,
    /// Bytes of all conversations' messages; the largest gives first.
    #[arg(long, value_name = "SIZE", value_parser = text::bytes)]
    pub total_bytes: Option<u64>,
    /// Days since a message was received or delivered.
    #[arg(long, value_name = "COUNT")]
    pub days: Option<u64>,
    /// Forget what was set: the configuration holds again.
    #[arg(long, conflicts_with_all = ["messages", "bytes", "total_messages", "total_bytes", "days"])]
    pub reset: bool,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make this device's identity and its store.
    ///
    /// Asks twice for the secret that will unlock the store, without showing it; without a terminal,
    /// the secret is all of standard input, less one newline at its end. There is no way round a
    /// forgotten secret.
    #[command(
        after_help = "Examples:\n  kithctl set-up --name hall\n  systemd-creds cat secret | kithctl set-up --name hall"
    )]
    SetUp {
        /// The name that invites carry.
        #[arg(long)]
        name: Option<String>,
    },

    /// Open the store.
    ///
    /// Asks for the secret without showing it; without a terminal, the secret is all of standard
    /// input, less one newline at its end.
    Unlock,

    /// Change the secret that opens the store.
    ///
    /// Asks for the old one, and twice for the new one, without showing them; without a terminal, the
    /// first line of standard input is the old one and the rest is the new one, less one newline at
    /// its end. What lies on the disk is not written anew: if somebody may know the old secret, run
    /// kithctl rotate-key afterwards.
    ChangeSecret,

    /// Set, change or remove the PIN.
    ///
    /// Whoever knows it may do for some minutes what is dangerous: write a backup in clear, replace all from a backup,
    /// wipe, change the secret or the PIN. Root needs no PIN. It opens nothing: unlocking takes the store's secret, which
    /// also serves in the PIN's place where there is none or it is forgotten. Asks for a PIN of 4 to 64 characters twice,
    /// and for the old one if need be, without showing them; without a terminal, the first line of standard input is the
    /// old one, empty where none is needed, and the rest is the new one, less one newline at its end.
    #[command(after_help = "Examples:\n  sudo kithctl pin\n  kithctl pin --remove")]
    Pin {
        /// Have none any more.
        #[arg(long)]
        remove: bool,
    },

    /// Rewrite the store under a new data key, and wait until that is done.
    ///
    /// After this, whoever knows an old secret and has an old copy of the store reads nothing that
    /// comes later. Needs as much free space as the store takes. The messenger can be used meanwhile.
    RotateKey,

    /// Close the store: ends all sessions and wipes the keys from memory.
    Lock,

    /// Check every value of the store.
    ///
    /// Says what is damaged, what that affects and what to do; changes nothing, and the messenger stays in
    /// use meanwhile. Exits with 1 if anything is damaged.
    Check,

    /// Write a backup of this device: identity, contacts, messages, and what waits to be sent.
    ///
    /// It is encrypted under the store's secret, and opens only with that. The file appears when it is complete, and
    /// only its owner can read it. With --plain it lies there in clear, for moving to a new device under a new secret;
    /// root gets that as it is, others are asked for the PIN or the store's secret: without a terminal it is all of standard
    /// input, less one newline at its end.
    #[command(after_help = "Examples:\n  kithctl export hall.enc.json\n  kithctl export --plain hall.json")]
    Export {
        /// Where to.
        file: PathBuf,
        /// In clear. WARNING: whoever reads the file is this device.
        #[arg(long)]
        plain: bool,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },

    /// Restore this device from a backup.
    ///
    /// A device that has not been set up becomes the device of the backup. Asks for the secret of an encrypted backup,
    /// or for a new one if it is plain; without a terminal, the secret is all of standard input, less one newline at its
    /// end. A device that is set up takes only backups of its own, with --replace: all that it holds is replaced, and
    /// its secret stays; who is not root is asked for the PIN or the store's secret, as for export --plain. A damaged backup
    /// changes nothing. The device must be the only one that runs with this identity.
    #[command(
        after_help = "Examples:\n  kithctl import --dry-run hall.enc.json\n  kithctl import --replace hall.enc.json"
    )]
    Import(Import),

    /// Show whether links go over a relay only, or set it.
    ///
    /// A peer with a direct link sees this device's address. With `on`, links that are direct end at once, and all go
    /// over the signaling server's relay; where it has none, there is no link. Holds also after a restart, over the
    /// configuration. What a peer has seen before, it has seen.
    #[command(after_help = "Examples:\n  kithctl relay-only\n  kithctl relay-only on")]
    RelayOnly {
        /// What to set; without it, only shown.
        wish: Option<Switch>,
    },

    /// Show how much history is kept, or set it.
    ///
    /// Holds from now on, also after a restart, over the configuration. Old messages go within a minute; what
    /// waits to be sent stays, and the newest messages that each contact has sent.
    #[command(
        after_help = "Examples:\n  kithctl retention\n  kithctl retention --days 90 --total-bytes 500M\n  kithctl retention --reset"
    )]
    Retention(Retention),

    /// Destroy this device's identity, its contacts and all messages.
    ///
    /// The keys go first, then everything else; there is no way back. Works while the messenger is locked, too. Asks
    /// first. Root needs nothing more; others are asked for the PIN or the store's secret: without a terminal it is
    /// all of standard input, less one newline at its end.
    Wipe {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },

    /// Show the messenger's state.
    ///
    /// Answers while the messenger is locked, too, and exits with 0 then.
    Status,

    /// Invite another device.
    ///
    /// Shows the invite as a QR code, if standard output is a terminal, and as a link, and waits until
    /// the other device has used it. Ctrl-C takes the invite back. Whoever has the link can become a
    /// contact: pass it on where nobody else reads.
    #[command(
        after_help = "Examples:\n  kithctl invite\n  kithctl invite --lifetime 1h\n  kithctl --json invite --no-wait | jq -r .uri"
    )]
    Invite {
        /// How long the invite stays open: 90s, 10m, 2h.
        #[arg(long, value_name = "TIME", value_parser = text::seconds)]
        lifetime: Option<u32>,
        /// Do not wait for the other device; the invite stays open.
        #[arg(long)]
        no_wait: bool,
    },

    /// Accept another device's invite.
    ///
    /// Waits until the devices are paired. Ctrl-C ends the pairing. An invite among the arguments can
    /// be read by every user of this device while the command runs: pass it on standard input.
    #[command(
        after_help = "Examples:\n  kithctl accept                    # asks for the invite\n  wl-paste | kithctl accept -"
    )]
    Accept {
        /// The invite, `kith:…`; `-` or nothing reads it from standard input.
        uri: Option<String>,
        /// The invite may name another signaling server than this device's.
        #[arg(long)]
        other_server: bool,
        /// Do not wait until the devices are paired.
        #[arg(long)]
        no_wait: bool,
    },

    /// Pair with another device by comparing six digits.
    ///
    /// For devices without a camera. One shows a code, which somebody types on the other; then both show six digits. If
    /// they are the same, nobody is between the two devices. On a terminal this asks whether they are; elsewhere confirm
    /// them with `kithctl confirm`. Ctrl-C ends the pairing.
    #[command(
        after_help = "Examples:\n  kithctl compare           # shows a code\n  kithctl compare KQXRWA    # on the other device"
    )]
    Compare {
        /// The code that the other device shows; without it, this device shows one.
        code: Option<String>,
        /// Do not wait for the digits.
        #[arg(long)]
        no_wait: bool,
    },

    /// Confirm a pairing by the digits that the other device shows.
    ///
    /// Waits until somebody has confirmed them on the other device, too. Digits that differ from those of this device end
    /// the pairing.
    Confirm {
        /// The pairing's number, as `kithctl compare` shows it.
        pairing: u32,
        /// The six digits on the other device.
        digits: String,
    },

    /// List the contacts.
    Peers,

    /// List the rooms, with their members.
    Rooms,

    /// Make a room, and change who is in it.
    #[command(subcommand)]
    Room(Room),

    /// Send a message.
    ///
    /// Returns when the message is on this device's disk; it is delivered as soon as the contact can be
    /// reached, also after a restart.
    Send(Send),

    /// Show the messages exchanged with a contact or in a room, oldest first.
    #[command(
        after_help = "Examples:\n  kithctl history hall -n 10\n  kithctl --json history hall --after 120 | jq -r '.messages[].text'"
    )]
    History {
        /// With whom: a contact, or a room.
        #[arg(value_name = "PEER|ROOM")]
        with: String,
        /// At most so many messages.
        #[arg(short = 'n', value_name = "COUNT", default_value_t = 50)]
        count: u32,
        /// The first ones after this sequence number, instead of the newest.
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
    },

    /// Show messages as they come in, and what changes.
    ///
    /// Without --consumer: from now on. With --consumer: everything that this consumer has not
    /// acknowledged, then what comes in; nothing is lost while nobody watches. With --after: what came in
    /// after that place, for whoever keeps it. Goes on when the daemon is locked or restarted meanwhile.
    /// Ctrl-C ends it.
    #[command(
        after_help = "Examples:\n  kithctl watch\n  kithctl --json watch --consumer relay --ack | while read -r event; do …; done"
    )]
    Watch {
        /// The name under which the messenger keeps the place of this reader.
        #[arg(long, value_name = "NAME")]
        consumer: Option<String>,
        /// Acknowledge messages when they have been written to standard output.
        #[arg(long, requires = "consumer")]
        ack: bool,
        /// Begin after this place in the inbox: the `inbox_seq` of the last message that was handled.
        #[arg(long, value_name = "INBOX_SEQ")]
        after: Option<u64>,
    },

    /// Mark messages as read, all or up to one; their writers are told, unless `kithctl receipts off`.
    Read {
        /// With whom: a contact, or a room.
        #[arg(value_name = "PEER|ROOM")]
        with: String,
        /// The sequence number of the last one that was read.
        seq: Option<u64>,
    },

    /// Tell others what was read on this device, or do not; without a word, show which.
    Receipts {
        /// `on` or `off`.
        wish: Option<Switch>,
    },

    /// Let later messages of a conversation disappear, or show after how long they do.
    ///
    /// It holds for everybody in the conversation: the others are told, and each device removes a message by
    /// itself, so many seconds after it was received or delivered. What was sent before stays.
    #[command(after_help = "Examples:\n  kithctl expiry hall 3600\n  kithctl expiry hall never\n  kithctl expiry hall")]
    Expiry {
        /// With whom: a contact, or a room.
        #[arg(value_name = "PEER|ROOM")]
        with: String,
        /// How long, in seconds or as 5m, 2h, 7d; or `never`.
        #[arg(value_name = "TIME", value_parser = text::expiry)]
        seconds: Option<u32>,
    },

    /// Show the digits that two people compare to be sure of each other's devices.
    ///
    /// On a terminal as a QR code, too, for whoever would rather let a camera read them.
    SafetyNumber {
        /// With whom.
        peer: String,
    },

    /// Mark a contact as verified.
    ///
    /// Shows the safety number and asks whether the other device shows the same.
    Verify {
        /// Which one.
        peer: String,
        /// Do not ask: the numbers were compared.
        #[arg(long)]
        yes: bool,
        /// Take the mark away.
        #[arg(long, conflicts_with = "yes")]
        undo: bool,
    },

    /// Let nothing of a contact in.
    ///
    /// It sees this device offline. What it sends stays with it; what waits for it stays here.
    Block {
        /// Which one.
        peer: String,
    },

    /// Let a blocked contact in again.
    Unblock {
        /// Which one.
        peer: String,
    },

    /// Give a contact another name on this device.
    Rename {
        /// Which one.
        peer: String,
        /// The name.
        name: String,
    },

    /// Forget a contact and all messages exchanged with it.
    Remove {
        /// Which one.
        peer: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },

    /// Set the name that invites carry.
    Name {
        /// The name.
        name: String,
    },

    /// Print a script that completes command lines.
    #[command(after_help = "Example:\n  kithctl completions bash > /usr/share/bash-completion/completions/kithctl")]
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// What `import` takes.
#[derive(Args, Clone, Debug)]
pub struct Import {
    /// The backup.
    pub file: PathBuf,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Replace all that this device holds.
    #[arg(long)]
    pub replace: bool,
    /// Ask for the secret under which the backup was made: it is not the store's any more.
    #[arg(long)]
    pub other_secret: bool,
}

/// What can be done with a room. All but `create` and `leave` is for its owner.
#[derive(Clone, Debug, Subcommand)]
pub enum Room {
    /// Make a room, owned by this device.
    #[command(after_help = "Example:\n  kithctl room create house hall gate kitchen")]
    Create {
        /// The room's name.
        name: String,
        /// The contacts to take into it, at most 31.
        #[arg(required = true, value_name = "PEER")]
        peers: Vec<String>,
    },

    /// Take a contact into a room. It begins with what is said from then on.
    Add {
        /// Which room.
        room: String,
        /// Whom.
        peer: String,
    },

    /// Take a member off the roster of a room.
    Remove {
        /// Which room.
        room: String,
        /// Whom: a client id, the beginning of one, or a name in the room.
        member: String,
    },

    /// Give a room another name, for all members.
    Rename {
        /// Which room.
        room: String,
        /// The name.
        name: String,
    },

    /// Make another member the owner of a room.
    HandOver {
        /// Which room.
        room: String,
        /// Whom: a client id, the beginning of one, or a name in the room.
        member: String,
    },

    /// Leave a room, and forget all that was said in it.
    Leave {
        /// Which room.
        room: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// What `send` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  kithctl send hall \"The door is open.\"
  kithctl send gate --type application/json --key reading-17 < reading.json
  kithctl send gate --wait=10 ping || echo 'not delivered yet'")]
pub struct Send {
    /// To whom: a contact, or a room.
    #[arg(value_name = "PEER|ROOM")]
    pub to: String,
    /// The message; without it, standard input. Of piped plain text one newline at the end is left out.
    pub text: Option<String>,
    /// The content type.
    #[arg(long = "type", value_name = "TYPE", default_value = "text/plain")]
    pub content_type: String,
    /// After how long it disappears, in place of what `kithctl expiry` says: 90s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = text::seconds)]
    pub ttl: Option<u32>,
    /// The id of the message that this one answers.
    #[arg(long, value_name = "ID")]
    pub reply_to: Option<String>,
    /// Sent again with the same key, a message is the same message.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Wait until the message is delivered, at most so long; exits with 5 if it is not. It stays queued.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = WAIT_DEFAULT,
        value_parser = text::seconds)]
    pub wait: Option<u32>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn one_bus_at_a_time() {
        assert!(parse("kithctl --session --system status").is_err());
        let split = parse("kithctl --session status --bus-address unix:path=/x").unwrap();
        assert!(matches!(split.bus(), Err(CommandError::Usage(_))));
        let address = parse("kithctl status --bus-address unix:path=/x").unwrap();
        assert_eq!(address.bus().unwrap(), Bus::Address("unix:path=/x"));
        assert_eq!(parse("kithctl status").unwrap().bus().unwrap(), Bus::System);
    }

    #[test]
    fn waiting_takes_a_time_only_behind_an_equals_sign() {
        let wait = |line| match parse(line).unwrap().command {
            Command::Send(send) => (send.wait, send.text),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("kithctl send hall hello"), (None, Some("hello".into())));
        assert_eq!(wait("kithctl send hall --wait hello"), (Some(60), Some("hello".into())));
        assert_eq!(wait("kithctl send hall --wait=2m hello"), (Some(120), Some("hello".into())));
    }

    #[test]
    fn acknowledging_needs_a_name_to_acknowledge_under() {
        assert!(parse("kithctl watch --ack").is_err());
        assert!(parse("kithctl watch --ack --consumer relay").is_ok());
    }

    #[test]
    fn what_was_set_is_not_forgotten_and_set_in_one_go() {
        assert!(parse("kithctl retention --days 3 --reset").is_err());
        let chosen = match parse("kithctl retention --total-bytes 2M").unwrap().command {
            Command::Retention(chosen) => chosen,
            other => panic!("{other:?}"),
        };
        assert_eq!(chosen, Retention { total_bytes: Some(2_000_000), ..Retention::default() });
    }

    #[test]
    fn no_secret_among_the_arguments() {
        assert!(parse("kithctl unlock hunter2").is_err());
        assert!(parse("kithctl set-up --secret hunter2").is_err());
    }

    #[test]
    fn help_names_the_exit_codes() {
        let help = Arguments::command().render_long_help().to_string();
        assert!(help.contains("5  what was waited for did not happen in time"), "{help}");
    }
}
