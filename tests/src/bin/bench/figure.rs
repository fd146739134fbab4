//! One line of a table: what was measured, its reference, and what it is to reach.

use serde_json::{Value, json};

/// What an amount is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Microseconds,
    MegabytesPerSecond,
    PerSecond,
    Megabytes,
    Kilobytes,
    Percent,
}

impl Unit {
    fn symbol(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::MegabytesPerSecond => "MB/s",
            Self::PerSecond => "/s",
            Self::Megabytes => "MB",
            Self::Kilobytes => "kB",
            Self::Percent => "%",
        }
    }

    /// Three digits that say something are enough for what differs from run to run.
    fn show(self, amount: f64) -> String {
        let decimals = match amount.abs() {
            large if large >= 100.0 => 0,
            middle if middle >= 10.0 => 1,
            _ => 2,
        };
        format!("{amount:.decimals$} {}", self.symbol())
    }
}

/// One measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    amount: f64,
    unit: Unit,
    references: Vec<(String, f64)>,
    /// What the amount is to reach: first, then next.
    goals: Vec<f64>,
}

impl Figure {
    /// A figure without a reference.
    pub(crate) fn new(name: impl Into<String>, amount: f64, unit: Unit) -> Self {
        Self { name: name.into(), amount, unit, references: Vec::new(), goals: Vec::new() }
    }

    /// Beside a reference of the same run, in the same unit.
    pub(crate) fn beside(mut self, name: impl Into<String>, amount: f64) -> Self {
        self.references.push((name.into(), amount));
        self
    }

    /// With what it is to reach.
    pub(crate) fn aiming_at(mut self, goals: &[f64]) -> Self {
        self.goals.extend(goals);
        self
    }

    /// Its line of the table.
    pub(crate) fn row(&self) -> String {
        let join = |parts: Vec<String>, between: &str| parts.join(between);
        let references =
            self.references.iter().map(|(name, amount)| format!("{name} {}", self.unit.show(*amount))).collect();
        let ratios = self.references.iter().map(|(_, amount)| ratio(self.amount, *amount)).collect();
        let goals = self.goals.iter().map(|goal| self.unit.show(*goal)).collect();
        format!(
            "| {} | {} | {} | {} | {} |",
            self.name,
            self.unit.show(self.amount),
            join(references, ", "),
            join(ratios, ", "),
            join(goals, ", then "),
        )
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        let references: Vec<Value> = self
            .references
            .iter()
            .map(|(name, amount)| json!({ "name": name, "amount": amount, "ratio": self.amount / amount }))
            .collect();
        json!({
            "name": self.name,
            "amount": self.amount,
            "unit": self.unit.symbol(),
            "references": references,
            "to_reach": self.goals,
        })
    }
}

fn ratio(amount: f64, reference: f64) -> String {
    let ratio = amount / reference;
    // A reference of nothing has no ratio.
    if ratio.is_finite() { format!("× {ratio:.2}") } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_the_figure_its_references_their_ratios_and_its_goals() {
        let figure = Figure::new("set-up, p50", 12.34, Unit::Milliseconds)
            .beside("bare channel", 2.0)
            .beside("nothing", 0.0)
            .aiming_at(&[50.0, 15.0]);
        assert_eq!(
            figure.row(),
            "| set-up, p50 | 12.3 ms | bare channel 2.00 ms, nothing 0.00 ms | × 6.17, – | 50.0 ms, then 15.0 ms |"
        );
    }

    #[test]
    fn programs_read_the_same_numbers_unrounded() {
        let json = Figure::new("size", 6.609_384, Unit::Megabytes).beside("other", 3.0).aiming_at(&[8.0]).to_json();
        assert_eq!(json["amount"], 6.609_384);
        assert_eq!(json["references"][0]["ratio"], 6.609_384 / 3.0);
        assert_eq!((json["unit"].as_str(), json["to_reach"][0].as_f64()), (Some("MB"), Some(8.0)));
    }

    #[test]
    fn amounts_are_shown_with_three_digits() {
        let shown = [0.1234, 1.234, 12.34, 123.4, 1234.5].map(|amount| Unit::PerSecond.show(amount));
        assert_eq!(shown, ["0.12 /s", "1.23 /s", "12.3 /s", "123 /s", "1234 /s"]);
    }
}
