//! What needs a program from outside, and seconds.

mod relay;
