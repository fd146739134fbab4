//! What each device and each address has used of what it may.
//!
//! An account outlives its connections until its budgets are full again, so that connecting anew gives
//! nothing back. Forgetting is part of entering: the ledger is gone through when it has doubled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::{Budget, Rate};

/// Accounts that are kept without looking for those that can be forgotten.
const SWEEP_MIN: usize = 1_024;

/// What one account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How often it may come.
    pub entries: Rate,
    /// How many messages it may send, over all its connections.
    pub messages: Rate,
    /// How many connections it may have at a time.
    pub present_max: u32,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Too many are here.
    Present,
    /// Came too often lately.
    Often,
}

/// The accounts of all of one sort.
pub(crate) struct Ledger<K> {
    accounts: Mutex<Accounts<K>>,
}

struct Accounts<K> {
    by_key: BTreeMap<K, Arc<Account>>,
    sweep_at: usize,
}

#[derive(Default)]
struct Account {
    present: AtomicU32,
    entries: Budget,
    messages: Budget,
}

/// One connection's share of its account; leaving is dropping it.
pub(crate) struct Entry {
    account: Arc<Account>,
    messages: Rate,
}

impl<K: Ord> Ledger<K> {
    pub(crate) const fn new() -> Self {
        Self { accounts: Mutex::new(Accounts { by_key: BTreeMap::new(), sweep_at: SWEEP_MIN }) }
    }

    /// Lets one more in under `key`.
    pub(crate) fn enter(&self, key: K, allowance: &Allowance, now_us: u64) -> Result<Entry, Denied> {
        let mut accounts = self.lock();
        if accounts.by_key.len() >= accounts.sweep_at {
            accounts.by_key.retain(|_, account| !account.can_be_forgotten(now_us));
            accounts.sweep_at = SWEEP_MIN.max(2 * accounts.by_key.len());
        }
        let account = accounts.by_key.entry(key).or_default();
        if account.present.load(Ordering::Relaxed) >= allowance.present_max {
            return Err(Denied::Present);
        }
        if account.entries.wait_us(allowance.entries, now_us) > 0 {
            return Err(Denied::Often);
        }
        account.entries.take(allowance.entries, now_us);
        account.present.fetch_add(1, Ordering::Relaxed);
        Ok(Entry { account: Arc::clone(account), messages: allowance.messages })
    }

    fn lock(&self) -> MutexGuard<'_, Accounts<K>> {
        // No code panics while it holds this lock; its content would still be whole.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn can_be_forgotten(&self, now_us: u64) -> bool {
        self.present.load(Ordering::Relaxed) == 0 && self.entries.is_full(now_us) && self.messages.is_full(now_us)
    }
}

impl Entry {
    /// A message has come.
    pub(crate) fn take_message(&self, now_us: u64) {
        self.account.messages.take(self.messages, now_us);
    }

    /// How long until the next one is read; 0 is now.
    pub(crate) fn wait_us(&self, now_us: u64) -> u64 {
        self.account.messages.wait_us(self.messages, now_us)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.account.present.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance =
        Allowance { entries: Rate::new(4, 1, 1), messages: Rate::new(8, 1, 1), present_max: 2 };
    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn an_account_has_so_many_connections_at_a_time_and_others_have_their_own() {
        let ledger = Ledger::new();
        let first = ledger.enter(1, &ALLOWANCE, 0).unwrap();
        let _second = ledger.enter(1, &ALLOWANCE, 0).unwrap();
        assert_eq!(ledger.enter(1, &ALLOWANCE, 0).err(), Some(Denied::Present));
        assert!(ledger.enter(2, &ALLOWANCE, 0).is_ok());
        drop(first);
        assert!(ledger.enter(1, &ALLOWANCE, 0).is_ok());
    }

    #[test]
    fn coming_and_going_is_bounded_and_gives_no_messages_back() {
        let ledger = Ledger::new();
        for _ in 0..4 {
            let entry = ledger.enter(1, &ALLOWANCE, 0).unwrap();
            entry.take_message(0);
            entry.take_message(0);
        }
        assert_eq!(ledger.enter(1, &ALLOWANCE, 0).err(), Some(Denied::Often));
        let later = ledger.enter(1, &ALLOWANCE, SECOND_US).unwrap();
        assert_eq!(later.wait_us(SECOND_US), 0);
        later.take_message(SECOND_US);
        assert!(later.wait_us(SECOND_US) > 0);
    }

    #[test]
    fn accounts_that_have_used_nothing_lately_are_forgotten_and_the_others_are_not() {
        let ledger = Ledger::new();
        let present = ledger.enter(0, &ALLOWANCE, 0).unwrap();
        for key in 1..100_000 {
            let now_us = key * SECOND_US;
            drop(ledger.enter(key, &ALLOWANCE, now_us).unwrap());
            assert!(ledger.lock().by_key.len() <= SWEEP_MIN + 1);
        }
        assert!(ledger.lock().by_key.contains_key(&0));
        drop(present);
    }
}
