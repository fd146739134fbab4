//! What became of the messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was asked for, beside what was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Different messages that arrived.
    pub(super) delivered: usize,
    /// Those that did not.
    pub(super) lost: Vec<String>,
    /// Those that arrived more than once, once for each time too many.
    pub(super) twice: Vec<String>,
    /// Those that arrived, for the first time, after one that was asked for later.
    pub(super) out_of_order: Vec<String>,
    /// What nobody asked for.
    pub(super) unknown: Vec<String>,
}

impl Verdict {
    /// Compares; the texts asked for are all different.
    pub(super) fn new(asked: &[String], received: &[String]) -> Self {
        let places: BTreeMap<&str, usize> =
            asked.iter().enumerate().map(|(place, text)| (text.as_str(), place)).collect();
        let mut verdict = Self::default();
        let mut seen = BTreeSet::new();
        let mut furthest = 0;
        for text in received {
            match places.get(text.as_str()) {
                None => verdict.unknown.push(text.clone()),
                Some(place) if !seen.insert(*place) => verdict.twice.push(text.clone()),
                Some(place) if *place < furthest => verdict.out_of_order.push(text.clone()),
                Some(place) => furthest = *place,
            }
        }
        verdict.delivered = seen.len();
        let missing = asked.iter().enumerate().filter(|(place, _)| !seen.contains(place));
        verdict.lost = missing.map(|(_, text)| text.clone()).collect();
        verdict
    }

    /// Both directions together.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.delivered += other.delivered;
        self.lost.extend(other.lost);
        self.twice.extend(other.twice);
        self.out_of_order.extend(other.out_of_order);
        self.unknown.extend(other.unknown);
        self
    }

    /// Whether all arrived, once and in order.
    pub(super) fn is_clean(&self) -> bool {
        [&self.lost, &self.twice, &self.out_of_order, &self.unknown].into_iter().all(Vec::is_empty)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} delivered", self.delivered)?;
        let faults = [
            ("lost", &self.lost),
            ("twice", &self.twice),
            ("out of order", &self.out_of_order),
            ("unknown", &self.unknown),
        ];
        for (what, texts) in faults {
            write!(f, ", {} {what}", texts.len())?;
            if !texts.is_empty() {
                write!(f, " {texts:?}")?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_verdict_says_which_messages_are_lost_repeated_or_late() {
    let texts = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let asked = texts("a b c d e");
    assert!(Verdict::new(&asked, &asked).is_clean());
    let verdict = Verdict::new(&asked, &texts("a c b c e x"));
    assert_eq!(verdict.delivered, 4);
    assert_eq!(verdict.lost, ["d"]);
    assert_eq!(verdict.twice, ["c"]);
    assert_eq!(verdict.out_of_order, ["b"]);
    assert_eq!(verdict.unknown, ["x"]);
    assert!(!verdict.is_clean());
    let said = verdict.to_string();
    assert_eq!(said, "4 delivered, 1 lost [\"d\"], 1 twice [\"c\"], 1 out of order [\"b\"], 1 unknown [\"x\"]");
}

#[test]
fn whatever_is_repeated_from_the_beginning_counts_as_twice_and_not_as_late() {
    let asked: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
    let verdict = Verdict::new(&asked, &["a", "b", "a", "b"].map(str::to_owned));
    assert_eq!((verdict.twice.len(), verdict.out_of_order.len(), verdict.lost.len()), (2, 0, 0));
}
