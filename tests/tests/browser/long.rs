//! What takes longer.

mod figures;
mod hands;
mod screens;
mod talk;
