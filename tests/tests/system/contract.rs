//! What the running service says about itself.

#[test]
fn placeholder() {}
