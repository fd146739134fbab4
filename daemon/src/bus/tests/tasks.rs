//! Long work, as the bus shows it.

use std::collections::HashMap;

use kith_dbus::{Failure, RefusalName, TaskKind as Shown, TaskState};
use zbus::OwnedVariant;

use super::*;
use crate::handle::CallError;
use crate::task::{Cancelled, Summary, SummaryValue, TaskEnd, TaskKind};

/// How a task ended, from its signal.
async fn finished(signals: &mut MessageStream) -> (TaskState, HashMap<String, OwnedVariant>) {
    next(signals, "Finished").await.body().deserialize().unwrap()
}

#[tokio::test]
async fn a_task_shows_how_far_it_is_and_what_came_of_it() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    let mut task = stage.handle.tasks().begin(TaskKind::Export).unwrap();
    stage.task_shown(task.id()).await;
    let shown = stage.task(task.id()).await;
    assert_eq!((shown.kind().await.unwrap(), shown.state().await.unwrap()), (Shown::Export, TaskState::Running));
    assert!(shown.summary().await.unwrap().is_empty());
    task.expect(10);
    task.advance(4).unwrap();
    while shown.done().await.unwrap() < 4 {
        next(&mut signals, "PropertiesChanged").await;
    }
    assert_eq!(shown.total().await.unwrap(), 10);
    let summary = [
        ("messages", SummaryValue::Number(3)),
        ("names", SummaryValue::Texts(vec!["a".into(), "b".into()])),
        ("encrypted", SummaryValue::Flag(true)),
        ("word", SummaryValue::Text("x".into())),
    ];
    task.end(TaskEnd::Done(Summary::from(summary)));
    let (state, summary) = finished(&mut signals).await;
    assert_eq!(state, TaskState::Done);
    assert_eq!(summary, shown.summary().await.unwrap());
    let signatures: Vec<_> = ["messages", "names", "encrypted", "word"]
        .map(|key| summary[key].value_signature().to_string())
        .into_iter()
        .collect();
    assert_eq!(signatures, ["t", "as", "b", "s"]);
    assert_eq!(shown.state().await.unwrap(), TaskState::Done);
}

#[tokio::test]
async fn a_task_that_ends_before_it_is_shown_is_announced_all_the_same() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    stage.handle.tasks().begin(TaskKind::Import).unwrap().end(TaskEnd::Failed(CallError::WrongSecret));
    let (state, summary) = finished(&mut signals).await;
    assert_eq!(state, TaskState::Failed);
    let text = |key: &str| String::try_from(summary[key].clone()).unwrap();
    assert_eq!(text("error"), RefusalName::WrongSecret.full());
    assert!(text("sentence").ends_with('.'), "{}", text("sentence"));
}

#[tokio::test]
async fn cancelling_reaches_the_worker_and_a_task_that_has_ended_cannot_be_cancelled() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    let mut task = stage.handle.tasks().begin(TaskKind::Export).unwrap();
    stage.task_shown(task.id()).await;
    let shown = stage.task(task.id()).await;
    shown.cancel().await.unwrap();
    assert_eq!(task.advance(1), Err(Cancelled));
    task.end(TaskEnd::Cancelled);
    assert_eq!(finished(&mut signals).await, (TaskState::Cancelled, HashMap::new()));
    match shown.cancel().await {
        Err(Failure::Refused(refusal)) => assert_eq!(refusal.name, RefusalName::NotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_task_outlives_locking() {
    let stage = Stage::ready().await;
    let task = stage.handle.tasks().begin(TaskKind::Import).unwrap();
    stage.task_shown(task.id()).await;
    stage.manager().await.lock().await.unwrap();
    assert_eq!(stage.paths().await, [map::task_path(task.id()).as_str()]);
    task.end(TaskEnd::Cancelled);
}
