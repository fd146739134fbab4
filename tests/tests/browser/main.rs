//! The kiosk's pages in a real browser. All of it takes longer than seconds and is in `long`; `cargo xtask test quick`
//! leaves it out.

mod long;
mod station;

pub(crate) use station::{Station, World};
