//! The ICE configuration, with TURN credentials that live for minutes.
//!
//! coturn's REST convention (`--use-auth-secret`): the user name is `expiry:label`, the password is
//! base64(HMAC-SHA1(secret, user name)). The label lets coturn count a device's allocations
//! (`user-quota`) without learning who it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use kith_crypto::identity::ClientId;
use kith_signal_protocol::{IceServer, IceServers};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a label: enough that two devices do not share one.
const LABEL_BYTES: usize = 8;

/// After a day a device has another label, so that the relay's log is no diary of it.
const LABEL_S: u64 = 86_400;

/// The key that makes labels: one block of SHA-256.
pub type LabelKey = Zeroizing<[u8; 64]>;

/// The secret shared with coturn (`static-auth-secret`), ready to compute passwords.
pub struct TurnSecret(Hmac<Sha1>);

impl TurnSecret {
    /// Takes the secret's bytes, at least one.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() { None } else { Hmac::new_from_slice(bytes).ok().map(Self) }
    }

    fn password(&self, username: &str) -> String {
        let mac = self.0.clone().chain_update(username);
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl std::fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TurnSecret(..)")
    }
}

/// TURN servers and how to log in to them.
#[derive(Debug)]
pub struct Turn {
    /// `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
    /// Shared with all of them.
    pub secret: TurnSecret,
}

/// What the operator configured.
#[derive(Debug)]
pub struct Ice {
    stun: Vec<String>,
    turn: Option<Turn>,
    lifetime_s: u32,
    /// Makes labels; random at each start, so that not even the relay's operator can compute them.
    label_key: LabelKey,
}

impl Ice {
    /// An ICE configuration; `label_key` is random and used for nothing else.
    #[must_use]
    pub fn new(stun: Vec<String>, turn: Option<Turn>, lifetime_s: u32, label_key: LabelKey) -> Self {
        Self { stun, turn, lifetime_s, label_key }
    }

    /// What `device` is told at `now_s`, seconds since 1970 in UTC.
    #[must_use]
    pub fn servers(&self, device: &ClientId, now_s: u64) -> IceServers {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), username: String::new(), password: String::new() });
        }
        if let Some(turn) = &self.turn {
            let expiry = now_s.saturating_add(u64::from(self.lifetime_s));
            let username = format!("{expiry}:{}", self.label(device, now_s / LABEL_S));
            let password = turn.secret.password(&username);
            servers.push(IceServer { urls: turn.urls.clone(), username, password });
        }
        IceServers { servers, lifetime_s: self.lifetime_s }
    }

    fn label(&self, device: &ClientId, day: u64) -> String {
        let tag = Hmac::<Sha256>::new((&*self.label_key).into())
            .chain_update(b"kith/1 turn label")
            .chain_update(device.as_bytes())
            .chain_update(day.to_be_bytes())
            .finalize()
            .into_bytes();
        tag.iter().take(LABEL_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ice(label_key: u8) -> Ice {
        let secret = TurnSecret::new(b"north").unwrap();
        let turn = Turn { urls: vec!["turn:relay.example:3478".to_owned()], secret };
        let stun = vec!["stun:relay.example:3478".to_owned()];
        Ice::new(stun, Some(turn), 600, Zeroizing::new([label_key; 64]))
    }

    fn device(byte: u8) -> ClientId {
        ClientId::from_bytes([byte; 20])
    }

    fn label(username: &str) -> &str {
        username.split_once(':').unwrap().1
    }

    /// `printf %s 1433895918:506 | openssl dgst -sha1 -hmac north -binary | base64`
    #[test]
    fn a_password_is_the_one_that_coturn_computes() {
        let secret = TurnSecret::new(b"north").unwrap();
        assert_eq!(secret.password("1433895918:506"), "s5LmbE7ECRvNooJppntkCvoj0Kg=");
    }

    #[test]
    fn credentials_end_after_their_lifetime() {
        let answer = ice(1).servers(&device(1), 1_000_000);
        assert_eq!(answer.lifetime_s, 600);
        assert_eq!(answer.servers.len(), 2);
        assert!(answer.servers[0].username.is_empty());
        assert!(answer.servers[1].username.starts_with("1000600:"));
    }

    #[test]
    fn a_label_is_the_same_for_a_day_and_says_nothing_about_the_device() {
        let ice_1 = ice(1);
        let of = |ice: &Ice, id, now_s| label(&ice.servers(&device(id), now_s).servers[1].username).to_owned();
        let first = of(&ice_1, 1, 0);
        assert_eq!(first.len(), 2 * LABEL_BYTES);
        assert_eq!(of(&ice_1, 1, LABEL_S - 1), first);
        assert_ne!(of(&ice_1, 1, LABEL_S), first);
        assert_ne!(of(&ice_1, 2, 0), first);
        assert_ne!(of(&ice(2), 1, 0), first);
    }

    #[test]
    fn nothing_configured_is_an_empty_answer() {
        let ice = Ice::new(Vec::new(), None, 600, Zeroizing::new([0; 64]));
        assert!(ice.servers(&device(1), 0).servers.is_empty());
    }

    #[test]
    fn the_secret_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", ice(1)).contains("north"));
    }
}
