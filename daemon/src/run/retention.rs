//! Keeping history within its bounds, a few messages at a time beside the traffic.
//!
//! Nothing wakes up as long as no bound can be passed: only messages, age and a new choice do.

use std::time::Duration;

use kith_engine::RequestError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{info, warn};

use super::clock::now;
use super::wiped;
use crate::config;
use crate::handle::CallError;
use crate::store::{Reader, Retention, RetentionChoice, TrimError, Trimmed, Trimmer};

/// From the first message that may have passed a bound to the look at it: one look serves a minute's messages.
const GATHERING: Duration = Duration::from_secs(60);

/// Between two steps, so that traffic comes between them.
const PAUSE: Duration = Duration::from_millis(20);

/// After a failure.
const RETRY: Duration = Duration::from_secs(60);

/// The longest sleep where age is bounded: meanwhile the clock may be set, or the device suspended.
const SLEEP_MAX: Duration = Duration::from_secs(60 * 60);

/// Choices that wait: people make them.
const CHOICES_MAX: usize = 4;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A choice, and whom to tell that it holds.
type Chosen = (RetentionChoice, oneshot::Sender<Result<(), CallError>>);

/// The loop's end of it.
pub(super) struct Keeper {
    choices: mpsc::Sender<Chosen>,
    task: JoinHandle<()>,
}

/// What works until the store is closed.
struct Keeping {
    trimmer: Trimmer,
    configured: config::Retention,
    choice: RetentionChoice,
    /// What holds, for all to see.
    shown: watch::Sender<config::Retention>,
    choices: mpsc::Receiver<Chosen>,
    sum: Trimmed,
}

/// When to look again.
enum Until {
    /// After this, whatever happens.
    Later(Duration),
    /// When there is news, or something has grown too old.
    News(Option<Duration>),
}

/// What holds: the configuration, and over it what was chosen.
pub(super) fn in_force(configured: &config::Retention, choice: &RetentionChoice) -> config::Retention {
    config::Retention {
        messages_max: choice.messages_max.unwrap_or(configured.messages_max),
        bytes_max: choice.bytes_max.unwrap_or(configured.bytes_max),
        total_messages_max: choice.total_messages_max.unwrap_or(configured.total_messages_max),
        total_bytes_max: choice.total_bytes_max.unwrap_or(configured.total_bytes_max),
        days_max: choice.days_max.unwrap_or(configured.days_max),
    }
}

/// What the store is asked for.
fn bounds(retention: &config::Retention) -> Retention {
    let bound = |value: u64| (value > 0).then_some(value);
    Retention {
        messages_max: bound(retention.messages_max),
        bytes_max: bound(retention.bytes_max),
        total_messages_max: bound(retention.total_messages_max),
        total_bytes_max: bound(retention.total_bytes_max),
        age_ms_max: bound(retention.days_max).map(|days| days.saturating_mul(DAY_MS)),
    }
}

/// A choice over an earlier one: what it leaves out stays. One that says nothing takes all back.
fn chosen_over(earlier: &RetentionChoice, choice: &RetentionChoice) -> RetentionChoice {
    if *choice == RetentionChoice::default() {
        return *choice;
    }
    RetentionChoice {
        messages_max: choice.messages_max.or(earlier.messages_max),
        bytes_max: choice.bytes_max.or(earlier.bytes_max),
        total_messages_max: choice.total_messages_max.or(earlier.total_messages_max),
        total_bytes_max: choice.total_bytes_max.or(earlier.total_bytes_max),
        days_max: choice.days_max.or(earlier.days_max),
    }
}

impl Keeper {
    /// Begins; shows what holds before this returns.
    pub(super) fn start(
        trimmer: Trimmer,
        configured: config::Retention,
        choice: RetentionChoice,
        shown: watch::Sender<config::Retention>,
    ) -> Self {
        let (choices_in, choices) = mpsc::channel(CHOICES_MAX);
        shown.send_replace(in_force(&configured, &choice));
        let keeping = Keeping { trimmer, configured, choice, shown, choices, sum: Trimmed::default() };
        Self { choices: choices_in, task: tokio::spawn(keeping.run()) }
    }

    /// Lets a choice hold from now on.
    pub(super) fn choose(&self, choice: RetentionChoice, done: oneshot::Sender<Result<(), CallError>>) {
        if let Err(mpsc::error::TrySendError::Full((_, done)) | mpsc::error::TrySendError::Closed((_, done))) =
            self.choices.try_send((choice, done))
        {
            // The caller may have gone.
            let _ = done.send(Err(CallError::Busy));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeping {
    async fn run(mut self) {
        while let Some(until) = self.look().await {
            tokio::select! {
                Some((choice, done)) = self.choices.recv() => {
                    let result = self.choose(&choice).await;
                    // The caller may have gone.
                    let _ = done.send(result);
                }
                () = until.over(&self.trimmer) => {}
            }
        }
    }

    /// Does one step; `None` once the store is closed.
    async fn look(&mut self) -> Option<Until> {
        let now = now();
        let keep = bounds(&self.shown.borrow());
        match self.trimmer.step(&keep, now.clock_trusted.then_some(now.utc_ms)).await {
            Err(TrimError::Closed) => None,
            Err(TrimError::Busy) => Some(Until::Later(PAUSE)),
            Err(error @ TrimError::Failed(_)) => {
                warn!("old messages could not be taken away: {error}");
                Some(Until::Later(RETRY))
            }
            Ok(trimmed) => {
                self.sum.messages += trimmed.messages;
                self.sum.unacknowledged += trimmed.unacknowledged;
                if trimmed.more {
                    return Some(Until::Later(PAUSE));
                }
                tell_operator(&std::mem::take(&mut self.sum));
                Some(Until::News(keep.age_ms_max.map(|age_ms| until_too_old(trimmed.next_utc_ms, age_ms, now.utc_ms))))
            }
        }
    }

    async fn choose(&mut self, choice: &RetentionChoice) -> Result<(), CallError> {
        let choice = chosen_over(&self.choice, choice);
        self.trimmer.choose(choice).await.map_err(|error| match error {
            TrimError::Closed => CallError::Locked,
            TrimError::Busy => CallError::Busy,
            TrimError::Failed(error) => CallError::Request(RequestError::from(error)),
        })?;
        self.choice = choice;
        self.shown.send_replace(in_force(&self.configured, &choice));
        Ok(())
    }
}

impl Until {
    async fn over(self, trimmer: &Trimmer) {
        let gathered = async {
            trimmer.news().await;
            sleep(GATHERING).await;
        };
        match self {
            Self::Later(duration) => sleep(duration).await,
            Self::News(None) => gathered.await,
            Self::News(Some(aged)) => tokio::select! {
                () = gathered => {}
                () = sleep(aged) => {}
            },
        }
    }
}

/// How long until a message of this time is too old, or until it is worth another look.
fn until_too_old(next_utc_ms: Option<u64>, age_ms: u64, now_ms: u64) -> Duration {
    let too_old_ms = next_utc_ms.map_or(u64::MAX, |next| next.saturating_add(age_ms));
    Duration::from_millis(too_old_ms.saturating_sub(now_ms).saturating_add(1)).min(SLEEP_MAX)
}

fn tell_operator(sum: &Trimmed) {
    if sum.messages > 0 {
        info!(messages = sum.messages, "old messages have been taken away");
    }
    if sum.unacknowledged > 0 {
        warn!(messages = sum.unacknowledged, "messages have been taken away that a consumer had not acknowledged");
    }
}

/// What somebody has chosen of how much history is kept. Whatever is wrong with it keeps nobody out: then the
/// configuration holds.
pub(super) async fn choice(reader: &Reader) -> RetentionChoice {
    let reader = reader.clone();
    let read = tokio::task::spawn_blocking(move || wiped(|| reader.retention_choice())).await;
    match read {
        Ok(Ok(choice)) => choice,
        Ok(Err(error)) => {
            warn!("how much history is kept goes by the configuration: {error}");
            RetentionChoice::default()
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_days(days_max: u64) -> RetentionChoice {
        RetentionChoice { days_max: Some(days_max), ..RetentionChoice::default() }
    }

    #[test]
    fn a_choice_holds_over_the_configuration_and_leaves_the_rest_to_it() {
        let configured = config::Retention { messages_max: 7, days_max: 1, ..config::Retention::default() };
        assert_eq!(in_force(&configured, &RetentionChoice::default()), configured);
        // Without end, although the configuration has one.
        let held = in_force(&configured, &by_days(0));
        assert_eq!(held, config::Retention { days_max: 0, ..configured });
    }

    #[test]
    fn a_choice_leaves_an_earlier_one_as_it_is_and_an_empty_one_takes_all_back() {
        let earlier = RetentionChoice { bytes_max: Some(5), ..by_days(3) };
        assert_eq!(chosen_over(&earlier, &by_days(4)), RetentionChoice { bytes_max: Some(5), ..by_days(4) });
        assert_eq!(chosen_over(&earlier, &RetentionChoice::default()), RetentionChoice::default());
    }

    #[test]
    fn the_next_look_is_when_a_message_has_grown_too_old() {
        assert_eq!(until_too_old(Some(5_000), 2_000, 6_000), Duration::from_millis(1_001));
        assert_eq!(until_too_old(Some(5_000), 2_000, 9_000), Duration::from_millis(1));
        assert_eq!(until_too_old(Some(5_000), DAY_MS, 5_000), SLEEP_MAX);
        assert_eq!(until_too_old(None, 2_000, 6_000), SLEEP_MAX);
    }
}
