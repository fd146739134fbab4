use super::{
    super::attempts::{AttemptError, Attempts, FREE_ATTEMPTS, WAIT_S_MAX},
    *,
};

/// Long after the start of the device.
const NOON_MS: u64 = 3_600_000;

fn wrong(attempts: &Attempts, now_ms: u64) {
    drop(attempts.begin_at(now_ms).unwrap());
}

fn wait_s(attempts: &Attempts, now_ms: u64) -> u32 {
    match attempts.begin_at(now_ms) {
        Err(AttemptError::Wait(seconds)) => seconds,
        other => panic!("{other:?}"),
    }
}

fn fresh() -> (TempDir, Folder) {
    let dir = folder_for_tests();
    let folder = Folder::open(dir.path()).unwrap();
    (dir, folder)
}

/// Wrong secrets, each as soon as it may be tried; gives the time after the last.
fn guess(attempts: &Attempts, times: u32, mut now_ms: u64) -> u64 {
    for _ in 0..times {
        now_ms += match attempts.begin_at(now_ms) {
            Ok(_) => continue,
            Err(AttemptError::Wait(seconds)) => u64::from(seconds) * 1_000,
            Err(error) => panic!("{error}"),
        };
        wrong(attempts, now_ms);
    }
    now_ms
}

#[test]
fn mistyping_costs_nothing_and_guessing_ever_more() {
    let (_dir, folder) = fresh();
    let attempts = Attempts::open(&folder).unwrap();
    for _ in 0..FREE_ATTEMPTS {
        wrong(&attempts, NOON_MS);
    }
    let mut now_ms = NOON_MS;
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, WAIT_S_MAX, WAIT_S_MAX] {
        assert_eq!(wait_s(&attempts, now_ms), seconds);
        now_ms += u64::from(seconds) * 1_000;
        // A refusal costs nothing, and a moment too early is too early.
        assert_eq!(wait_s(&attempts, now_ms - 1), 1);
        wrong(&attempts, now_ms);
    }
}

#[test]
fn the_right_secret_clears_the_count() {
    let (_dir, folder) = fresh();
    let attempts = Attempts::open(&folder).unwrap();
    let now_ms = guess(&attempts, 6, NOON_MS);
    let free_ms = now_ms + u64::from(wait_s(&attempts, now_ms)) * 1_000;
    attempts.begin_at(free_ms).unwrap().was_right().unwrap();
    for _ in 0..FREE_ATTEMPTS {
        wrong(&attempts, free_ms);
    }
    assert_eq!(wait_s(&attempts, free_ms), 1);
}

#[test]
fn an_attempt_counts_although_the_power_is_cut_before_its_verdict() {
    let (_dir, folder) = fresh();
    for _ in 0..FREE_ATTEMPTS {
        // Neither right nor wrong was ever said.
        std::mem::forget(Attempts::open(&folder).unwrap().begin_at(NOON_MS).unwrap());
    }
    assert_eq!(wait_s(&Attempts::open(&folder).unwrap(), NOON_MS), 1);
}

#[test]
fn a_restart_of_the_device_does_not_shorten_the_wait() {
    let (_dir, folder) = fresh();
    let attempts = Attempts::open(&folder).unwrap();
    let now_ms = guess(&attempts, 20, NOON_MS);
    assert_eq!(wait_s(&attempts, now_ms), WAIT_S_MAX);
    drop(attempts);
    // The clock begins anew, below the last attempt: the time since then has gone by, no more.
    let attempts = Attempts::open(&folder).unwrap();
    assert_eq!(wait_s(&attempts, 10_000), WAIT_S_MAX - 10);
    assert_eq!(wait_s(&Attempts::open(&folder).unwrap(), 20_000), WAIT_S_MAX - 20);
    wrong(&attempts, u64::from(WAIT_S_MAX) * 1_000);
}

#[test]
fn a_damaged_count_is_the_longest_wait_and_no_dead_end() {
    for content in [&b"x"[..], &[2; 13], &[0xff; 4096]] {
        let (dir, folder) = fresh();
        std::fs::write(dir.path().join("attempts"), content).unwrap();
        let attempts = Attempts::open(&folder).unwrap();
        assert_eq!(wait_s(&attempts, NOON_MS), WAIT_S_MAX);
        attempts.begin_at(NOON_MS + u64::from(WAIT_S_MAX) * 1_000).unwrap().was_right().unwrap();
        wrong(&attempts, NOON_MS * 2);
    }
}

#[test]
fn the_count_is_private_and_says_nothing_of_the_secret() {
    let (dir, folder) = fresh();
    wrong(&Attempts::open(&folder).unwrap(), 0x0102);
    let file = dir.path().join("attempts");
    assert_eq!(std::fs::read(&file).unwrap(), [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
}
