//! An interface behind the question who may use it.
//!
//! All methods and setters of all interfaces go through here, so none can be forgotten: one that belongs to no action
//! is refused to everybody. Getters do not: properties are broadcast anyway.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kith_dbus::Refusal;
use zbus::message::{Header, Message};
use zbus::names::{InterfaceName, MemberName};
use zbus::object_server::{DispatchResult, Interface, SignalEmitter};
use zbus::{BoxDBusError, Connection, ObjectServer, OwnedVariant, Variant, fdo};

use super::{Access, silent};

/// An interface whose callers are asked for.
pub(in crate::bus) struct Guarded<I> {
    interface: I,
    access: Arc<Access>,
}

impl<I> Guarded<I> {
    pub(in crate::bus) fn new(interface: I, access: Arc<Access>) -> Self {
        Self { interface, access }
    }
}

impl Access {
    /// Does what an interface has found to do, if the caller may.
    fn guarded<'call>(
        &'call self,
        connection: &'call Connection,
        call: Option<Header<'call>>,
        interface: InterfaceName<'static>,
        member: String,
        found: DispatchResult<'call>,
    ) -> DispatchResult<'call> {
        let DispatchResult::Async(work) = found else { return found };
        DispatchResult::Async(Box::pin(async move {
            self.asked(connection, call.as_ref(), &interface, &member).await.map_err(boxed)?;
            work.await
        }))
    }

    async fn asked(
        &self,
        connection: &Connection,
        call: Option<&Header<'_>>,
        interface: &str,
        member: &str,
    ) -> Result<(), Refusal> {
        // Every call over a bus has a header.
        self.may(connection, call.ok_or_else(silent)?, interface, member).await
    }
}

fn boxed(refusal: Refusal) -> BoxDBusError {
    Box::new(refusal)
}

#[async_trait]
impl<I: Interface> Interface for Guarded<I> {
    fn name() -> InterfaceName<'static> {
        I::name()
    }

    fn spawn_tasks_for_methods(&self) -> bool {
        self.interface.spawn_tasks_for_methods()
    }

    async fn get(
        &self,
        property: &str,
        server: &ObjectServer,
        connection: &Connection,
        call: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        self.interface.get(property, server, connection, call, emitter).await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        call: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        self.interface.get_all(server, connection, call, emitter).await
    }

    fn set<'call>(
        &'call self,
        property: &'call str,
        value: &'call Variant<'_>,
        server: &'call ObjectServer,
        connection: &'call Connection,
        call: Option<&'call Header<'_>>,
        emitter: &'call SignalEmitter<'_>,
    ) -> DispatchResult<'call> {
        let found = self.interface.set(property, value, server, connection, call, emitter);
        self.access.guarded(connection, call.cloned(), I::name(), property.to_owned(), found)
    }

    async fn set_mut(
        &mut self,
        property: &str,
        value: &Variant<'_>,
        server: &ObjectServer,
        connection: &Connection,
        call: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<(), BoxDBusError>> {
        if let Err(refusal) = self.access.asked(connection, call, &I::name(), property).await {
            return Some(Err(boxed(refusal)));
        }
        self.interface.set_mut(property, value, server, connection, call, emitter).await
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        method: MemberName<'call>,
    ) -> DispatchResult<'call> {
        let member = method.to_string();
        let found = self.interface.call(server, connection, message, method);
        self.access.guarded(connection, Some(message.header()), I::name(), member, found)
    }

    fn call_mut<'call>(
        &'call mut self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        method: MemberName<'call>,
    ) -> DispatchResult<'call> {
        let member = method.to_string();
        let found = self.interface.call_mut(server, connection, message, method);
        self.access.guarded(connection, Some(message.header()), I::name(), member, found)
    }

    fn introspect_to_writer(&self, writer: &mut dyn fmt::Write, level: usize) {
        self.interface.introspect_to_writer(writer, level);
    }
}
