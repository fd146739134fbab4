//! Putting messages into a store whose daemon does not run, by the store's own code.

use anyhow::{Context as _, Result, bail};
use kith_engine::{
    Commit, CommitId, ConversationRecord, Direction, Incarnation, MessageId, MessageRecord, MessageState, Op,
};
use kith_system_tests::Device;
use kithd::store::{Folder, Found, LockedStore, open};

/// Messages in one transaction: what a burst from a peer can have.
const COMMIT_MESSAGES: u64 = 256;
/// A line of text.
const BODY_BYTES: usize = 64;
/// 2027, a second between two messages.
const FIRST_UTC_MS: u64 = 1_800_000_000_000;
/// Of an earlier store of the peer's, so that nothing of this is taken for what the peer will send.
const EARLIER: Incarnation = Incarnation([7; 16]);

/// The closed store of a device.
pub(super) fn closed(device: &Device) -> Result<(Folder, LockedStore)> {
    let folder = Folder::open(&device.data_folder())?;
    match open(&folder)? {
        Found::Locked(store) => Ok((folder, store)),
        _ => bail!("{} has no store that can be unlocked", device.name()),
    }
}

/// Lets a device have received messages from its only contact until its history has so many.
pub(super) async fn up_to(device: &Device, messages: u64) -> Result<()> {
    let (_folder, store) = closed(device)?;
    let (_, state, mut writer, _) = store.unlock(device.secret().text().as_bytes())?.into_parts();
    let contact = state.contacts.first().context("a contact")?;
    let peer = contact.contact.client_id();
    let (mut conversation, mut inbox_seq) = (contact.conversation.clone(), state.inbox_seq);
    while conversation.last_seq < messages {
        let mut ops = Vec::new();
        let last = messages.min(conversation.last_seq + COMMIT_MESSAGES);
        while conversation.last_seq < last {
            conversation.last_seq += 1;
            inbox_seq += 1;
            let message = received(&conversation)?;
            let (id, seq) = (message.id, message.seq);
            ops.extend([
                Op::ClaimId { conversation: peer.into(), peer, id },
                Op::PutMessage(peer.into(), message),
                Op::PutInbox { inbox_seq, conversation: peer.into(), peer, seq },
            ]);
        }
        ops.push(Op::PutConversation(peer.into(), conversation.clone()));
        writer.submit(Commit { id: CommitId(conversation.last_seq), ops })?;
        writer.completed().await.context("the store was closed")?.1?;
    }
    writer.close();
    Ok(())
}

fn received(conversation: &ConversationRecord) -> Result<MessageRecord> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).ok().context("no randomness")?;
    let seq = conversation.last_seq;
    Ok(MessageRecord {
        seq,
        id: MessageId(id),
        direction: Direction::Incoming,
        number: seq,
        incarnation: EARLIER,
        sent_utc_ms: FIRST_UTC_MS + seq * 1_000,
        clock_trusted: true,
        done_utc_ms: FIRST_UTC_MS + seq * 1_000,
        state: MessageState::Delivered,
        content_type: "text/plain".to_owned(),
        reply_to: None,
        ttl_s: None,
        body: vec![b'x'; BODY_BYTES],
    })
}
