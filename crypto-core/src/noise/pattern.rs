//! The patterns, as data. Another one is another table; the engine knows tokens only.

/// A handshake pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Both know the other's static key.
    Kk,
    /// The initiator knows the responder's static key, and both know a pre-shared key.
    XkPsk3,
    /// Neither knows anything of the other.
    Xx,
}

/// The tokens of Noise §7.1 and §9.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    E,
    S,
    EE,
    ES,
    SE,
    SS,
    Psk,
}

/// A row of Noise §7: what is known before, and what each message does.
pub(super) struct Table {
    pub(super) name: &'static [u8],
    pub(super) initiator_known: bool,
    pub(super) responder_known: bool,
    pub(super) messages: &'static [&'static [Token]],
}

const KK: Table = Table {
    name: b"Noise_KK_P256_AESGCM_SHA256",
    initiator_known: true,
    responder_known: true,
    messages: &[&[Token::E, Token::ES, Token::SS], &[Token::E, Token::EE, Token::SE]],
};

const XK_PSK3: Table = Table {
    name: b"Noise_XKpsk3_P256_AESGCM_SHA256",
    initiator_known: false,
    responder_known: true,
    messages: &[&[Token::E, Token::ES], &[Token::E, Token::EE], &[Token::S, Token::SE, Token::Psk]],
};

const XX: Table = Table {
    name: b"Noise_XX_P256_AESGCM_SHA256",
    initiator_known: false,
    responder_known: false,
    messages: &[&[Token::E], &[Token::E, Token::EE, Token::S, Token::ES], &[Token::S, Token::SE]],
};

impl Pattern {
    pub(super) const fn table(self) -> &'static Table {
        match self {
            Self::Kk => &KK,
            Self::XkPsk3 => &XK_PSK3,
            Self::Xx => &XX,
        }
    }
}

impl Table {
    /// Whether the payload of a message is sealed: some key was agreed on in it or before (Noise §5.2).
    pub(super) fn seals_payload(&self, message: usize) -> bool {
        let is_shared = |token: &Token| !matches!(token, Token::E | Token::S);
        self.messages.iter().take(message + 1).any(|message| message.iter().any(is_shared))
    }

    /// With a pre-shared key every ephemeral key is mixed into the chaining key too (Noise §9.2).
    pub(super) fn has_psk(&self) -> bool {
        self.messages.iter().any(|message| message.contains(&Token::Psk))
    }
}
