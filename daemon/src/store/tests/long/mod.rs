//! Tests that take longer than a few seconds.

mod import;
mod power;
mod values;
