//! The commands, by what they are about.

mod backup;
mod compare;
mod guard;
mod keep;
mod manage;
mod message;
mod pairing;
mod peers;
mod rooms;
mod talk;
mod task;
mod watch;

use crate::arguments::{Arguments, Command};
use crate::console::Console;
use crate::error::CommandError;

/// Carries out one command.
pub(crate) async fn run(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    match &arguments.command {
        Command::SetUp { name } => manage::set_up(arguments, console, name.clone()).await,
        Command::Unlock => manage::unlock(arguments, console).await,
        Command::ChangeSecret => guard::change_secret(arguments, console).await,
        Command::RotateKey => manage::rotate_key(arguments, console).await,
        Command::Pin { remove } => guard::pin(arguments, console, *remove).await,
        Command::Lock => manage::lock(arguments, console).await,
        Command::Check => keep::check(arguments, console).await,
        Command::Export { file, plain, force } => backup::export(arguments, console, file, *plain, *force).await,
        Command::Import(import) => backup::import(arguments, console, import).await,
        Command::RelayOnly { wish } => manage::relay_only(arguments, console, *wish).await,
        Command::Retention(choice) => keep::retention(arguments, console, choice).await,
        Command::Wipe { yes } => keep::wipe(arguments, console, *yes).await,
        Command::Status => manage::status(arguments, console).await,
        Command::Name { name } => manage::name(arguments, console, name).await,
        Command::Completions { shell } => manage::completions(console, *shell),
        Command::Invite { lifetime, no_wait } => pairing::invite(arguments, console, *lifetime, !no_wait).await,
        Command::Accept { uri, other_server, no_wait } => {
            pairing::accept(arguments, console, uri.as_deref(), *other_server, !no_wait).await
        }
        Command::Compare { code, no_wait } => compare::compare(arguments, console, code.as_deref(), !no_wait).await,
        Command::Confirm { pairing, digits } => compare::confirm(arguments, console, *pairing, digits).await,
        Command::Peers => peers::list(arguments, console).await,
        Command::SafetyNumber { peer } => peers::safety_number(arguments, console, peer).await,
        Command::Verify { peer, yes, undo } => peers::verify(arguments, console, peer, *yes, *undo).await,
        Command::Block { peer } => peers::block(arguments, console, peer, true).await,
        Command::Unblock { peer } => peers::block(arguments, console, peer, false).await,
        Command::Rename { peer, name } => peers::rename(arguments, console, peer, name).await,
        Command::Remove { peer, yes } => peers::remove(arguments, console, peer, *yes).await,
        Command::Rooms => rooms::list(arguments, console).await,
        Command::Room(command) => rooms::room(arguments, console, command).await,
        Command::Send(send) => talk::send(arguments, console, send).await,
        Command::History { with, count, after } => talk::history(arguments, console, with, *count, *after).await,
        Command::Read { with, seq } => talk::read(arguments, console, with, *seq).await,
        Command::Receipts { wish } => manage::receipts(arguments, console, *wish).await,
        Command::Expiry { with, seconds } => talk::expiry(arguments, console, with, *seconds).await,
        Command::Watch { consumer, ack, after } => {
            watch::watch(arguments, console, watch::Reader::new(consumer.as_deref(), *after, *ack)).await
        }
    }
}
