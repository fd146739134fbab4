//! `org.kith.Messenger1.Task1`: long work that is under way, or one of the latest that ended.

use std::collections::HashMap;

use kith_dbus::{Refusal, TaskKind, TaskState};
use kith_engine::RequestError;
use tokio::sync::watch;
use zbus::object_server::SignalEmitter;
use zbus::{Variant, interface};

use super::error::refusal;
use super::{map, view};
use crate::task::{TaskId, TaskView, Tasks};

pub(super) struct Task {
    id: TaskId,
    tasks: Tasks,
    view: watch::Receiver<TaskView>,
}

impl Task {
    pub(super) fn new(id: TaskId, tasks: Tasks, view: watch::Receiver<TaskView>) -> Self {
        Self { id, tasks, view }
    }
}

#[interface(name = "org.kith.Messenger1.Task1", introspection_docs = false)]
impl Task {
    fn cancel(&self) -> Result<(), Refusal> {
        if self.tasks.cancel(self.id) { Ok(()) } else { Err(refusal(RequestError::NotFound.into())) }
    }

    #[zbus(signal)]
    pub(super) async fn finished(
        emitter: &SignalEmitter<'_>,
        state: TaskState,
        summary: HashMap<&'static str, Variant<'static>>,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> TaskKind {
        map::task_kind(self.view.borrow().kind)
    }

    #[zbus(property)]
    fn state(&self) -> TaskState {
        map::task_state(&self.view.borrow().end)
    }

    #[zbus(property)]
    fn done(&self) -> u64 {
        self.view.borrow().done
    }

    #[zbus(property)]
    fn total(&self) -> u64 {
        self.view.borrow().total
    }

    #[zbus(property)]
    fn summary(&self) -> HashMap<&'static str, Variant<'static>> {
        view::task_summary(&self.view.borrow())
    }
}
