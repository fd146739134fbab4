//! What both sides may count on (docs/protocol.md §3).

/// One WebSocket message: a TLV of at most 2¹⁶ bytes, so that nobody has to buffer more.
pub const MESSAGE_BYTES_MAX: usize = 65_536;

/// The sealed payload of one relay: a sealed SDP of 16,384 bytes and its overhead, twice over.
pub const RELAY_BYTES_MAX: usize = 32_768;

/// Ids that one device watches: more contacts than a device's roster holds.
pub const WATCHED_MAX: usize = 4_096;

/// Ids in one `watch`, added and removed together: 3,200 × 20 bytes stay below one message.
pub const WATCH_IDS_MAX: usize = 3_200;

/// Invites that one device holds open: nobody shows more than a few QR codes at a time.
pub const INVITES_MAX: usize = 8;

/// Rooms that one device is in at a time.
pub const ROOMS_MAX: usize = 64;

/// Devices in one room: its whole presence fits into an outbox many times over.
pub const ROOM_DEVICES_MAX: usize = 256;

/// The text of a notice or a goodbye: a few sentences that a small screen can show.
pub const TEXT_BYTES_MAX: usize = 512;

/// Entries of an ICE configuration: a browser already warns above five.
pub const ICE_SERVERS_MAX: usize = 8;

/// URLs in one entry of an ICE configuration.
pub const ICE_URLS_MAX: usize = 8;

/// One URL, user name or password in an ICE configuration.
pub const ICE_TEXT_BYTES_MAX: usize = 512;

/// The first frame of a device comes within this time, so that a silent connection costs little.
pub const LOGIN_MS_MAX: u64 = 5_000;

/// A device sends a WebSocket ping at least this often, so that presence is right within ten seconds: two
/// wake-ups and some 220 bytes each time.
pub const PING_MS: u64 = 4_000;

/// A connection on which nothing came for this long is dead: two pings.
pub const IDLE_MS_MAX: u64 = 9_000;
