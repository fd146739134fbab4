//! Checking every value of the store, as a task.

use tracing::{info, warn};

use crate::store::{CheckError, CheckReport, Reader};
use crate::task::{Summary, SummaryValue, Task, TaskEnd};

/// Works until the check has ended. Takes as long as reading the whole store: not for the async
/// loop's own thread.
pub(super) fn work(reader: &Reader, mut task: Task) {
    let end = match reader.check(&mut task) {
        Ok(report) => {
            tell_operator(&report);
            TaskEnd::Done(summary(report))
        }
        Err(CheckError::Cancelled(_)) => TaskEnd::Cancelled,
        Err(CheckError::Read(error)) => TaskEnd::Failed(error.into()),
    };
    task.end(end);
}

fn tell_operator(report: &CheckReport) {
    info!(checked = report.checked, damaged = report.damaged, "the store has been checked");
    for finding in &report.findings {
        warn!("{finding}");
    }
}

fn summary(report: CheckReport) -> Summary {
    Summary::from([
        ("checked", SummaryValue::Number(report.checked)),
        ("damaged", SummaryValue::Number(report.damaged)),
        ("findings", SummaryValue::Texts(report.findings)),
    ])
}
