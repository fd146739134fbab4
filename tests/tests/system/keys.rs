//! Another secret, and another data key, for a messenger that is in use.

use std::collections::BTreeSet;

use kith_dbus::DaemonState;

use crate::{Pair, numbered, received, send_all};

const ANOTHER: &str = "another secret";

#[tokio::test]
async fn a_device_goes_on_with_another_secret_and_another_data_key() {
    let mut pair = Pair::new().await;
    let secret = pair.alice.secret().text().to_owned();
    send_all(&mut pair.to_bob, &numbered("before", 3)).await;
    let store = pair.alice.data_folder().join("store.redb");
    let before = std::fs::read(&store).unwrap();

    let refused = pair.alice.kithctl(&["change-secret"], &format!("guess\n{ANOTHER}")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("secret"), "{refused:#}");
    pair.alice.kithctl(&["change-secret"], &format!("{secret}\n{ANOTHER}")).await.unwrap();
    pair.alice.kithctl(&["rotate-key"], "").await.unwrap();
    send_all(&mut pair.to_bob, &numbered("after", 3)).await;
    assert_eq!(received(&pair.to_alice).await, [numbered("before", 3), numbered("after", 3)].concat());

    // Only the new secret opens it, and nothing of the old file is in the new one: pages of sealed
    // values are not alike by chance.
    let page = |bytes: &[u8], at: usize| bytes[at..at + 256].to_vec();
    let sealed = (0..before.len() - 256).step_by(256).map(|at| page(&before, at));
    let sealed: Vec<_> = sealed.filter(|page| page.iter().collect::<BTreeSet<_>>().len() > 128).collect();
    assert!(!sealed.is_empty());
    let after = std::fs::read(&store).unwrap();
    let kept = (0..after.len() - 256).step_by(256).filter(|at| sealed.contains(&page(&after, *at))).count();
    assert_eq!(kept, 0);

    pair.alice.kithctl(&["lock"], "").await.unwrap();
    let messenger = pair.alice.messenger().await.unwrap();
    pair.alice.kithctl(&["unlock"], &secret).await.unwrap_err();
    pair.alice.kithctl(&["unlock"], ANOTHER).await.unwrap();
    messenger.wait_until(DaemonState::Ready).await.unwrap();
    assert_eq!(pair.to_bob.history().await.unwrap().len(), 6);
}
