//! What takes more than a few seconds: each test here starts daemons of its own.

mod contact;
mod floods;
mod middle;
mod payloads;
mod words;
