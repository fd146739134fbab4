//! The D-Bus side: one look at the messenger for each page.

use std::time::Duration;

use kith_dbus::{DaemonState, LinkState, Manager1Proxy, PEER_INTERFACE, Presence, ROOT_PATH, Result, SERVICE};
use zbus::fdo::ObjectManagerProxy;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedVariant};

use crate::http::Source;
use crate::view::{Peer, Status, View};

/// How long a browser waits for the messenger before it is told that it is away.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// The properties of an object's interface.
type Properties = std::collections::HashMap<String, OwnedVariant>;

/// Where the messenger is.
#[derive(Clone, Debug)]
pub(crate) enum Bus {
    /// The system bus.
    System,
    /// A bus at this address.
    Address(String),
}

impl Source for Bus {
    async fn look(&self) -> View {
        // A connection for each look: nothing has to be mended when the bus has been away.
        let look = tokio::time::timeout(LOOK_MAX, look(self)).await;
        look.ok().and_then(|look| look.ok()).unwrap_or(View::Away)
    }
}

async fn look(bus: &Bus) -> Result<View> {
    let builder = match bus {
        Bus::System => zbus::connection::Builder::system(),
        Bus::Address(address) => zbus::connection::Builder::address(address.as_str()),
    };
    let connection = builder.build().await?;
    let manager = Manager1Proxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
    Ok(match manager.state().await? {
        DaemonState::Unknown => View::Away,
        DaemonState::NeedsSetUp => View::NeedsSetUp,
        DaemonState::Locked => View::Locked { client_id: manager.client_id().await? },
        DaemonState::Ready => View::Ready(Status {
            name: manager.display_name().await?,
            client_id: manager.client_id().await?,
            signaling: manager.signaling().await?,
            notice: manager.logging_notice().await?,
            peers: peers(&connection).await?,
        }),
    })
}

/// All contacts in one answer, by name.
async fn peers(connection: &Connection) -> Result<Vec<Peer>> {
    let objects = ObjectManagerProxy::builder(connection).destination(SERVICE).path(ROOT_PATH).build().await?;
    let objects = objects.get_managed_objects().await?;
    let mut peers: Vec<Peer> =
        objects.into_values().filter_map(|mut interfaces| interfaces.remove(PEER_INTERFACE)).map(peer).collect();
    peers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(peers)
}

fn peer(mut properties: Properties) -> Peer {
    let number = |value: Option<OwnedVariant>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or_default();
    let presence = Presence::from(number(properties.remove("Presence")));
    let link = LinkState::from(number(properties.remove("Link")));
    let name = properties.remove("Name").and_then(|name| String::try_from(name).ok()).unwrap_or_default();
    Peer { name, presence, link }
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    #[test]
    fn a_contact_is_read_and_what_is_missing_or_new_is_unknown() {
        let owned = |value: Variant<'_>| value.try_into_owned().unwrap();
        let full = Properties::from([
            ("Name".to_owned(), owned(Variant::from("bob"))),
            ("Presence".to_owned(), owned(Variant::from(2u32))),
            ("Link".to_owned(), owned(Variant::from(99u32))),
        ]);
        let bob = Peer { name: "bob".into(), presence: Presence::Online, link: LinkState::Unknown };
        assert_eq!(peer(full), bob);
        let empty = Peer { name: String::new(), presence: Presence::Unknown, link: LinkState::Unknown };
        assert_eq!(peer(Properties::new()), empty);
    }

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_a_messenger_that_is_away() {
        let folder = std::env::temp_dir().join("no-such-folder-of-kith");
        let bus = Bus::Address(format!("unix:path={}/socket", folder.display()));
        assert_eq!(bus.look().await, View::Away);
    }
}
