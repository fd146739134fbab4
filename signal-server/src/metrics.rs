//! What is counted for the operator's monitoring: how much, and never who.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// TCP connections that were served.
    pub(crate) connections: Counter,
    /// Closed at once: the server is full.
    pub(crate) refused_full: Counter,
    /// Closed at once: too many connections of one address.
    pub(crate) refused_address_present: Counter,
    /// Closed at once: an address came too often.
    pub(crate) refused_address_often: Counter,
    /// No TLS, no HTTP or no PROXY header in time.
    pub(crate) refused_handshake: Counter,
    /// Logins that were welcomed.
    pub(crate) logins: Counter,
    /// Logins that were not.
    pub(crate) logins_refused: Counter,
    /// Messages from devices.
    pub(crate) messages: Counter,
    /// Payloads that were passed on.
    pub(crate) relayed: Counter,
    /// Payloads that went nowhere.
    pub(crate) undelivered: Counter,
    /// Connections whose outbox was full.
    pub(crate) overflows: Counter,
    /// Connections that were not read from for a while: over their rate.
    pub(crate) throttled: Counter,
    /// Messages on the bus that no server with the same secret has sent.
    pub(crate) bus_refused: Counter,
}

/// The labels of each counter of one name.
type Series<'a> = &'a [(&'static str, &'a Counter)];

/// What there is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) online: usize,
    pub(crate) rooms: usize,
    pub(crate) invites: usize,
    pub(crate) is_ready: bool,
    pub(crate) is_linked: bool,
}

impl Metrics {
    /// The text format of Prometheus, version 0.0.4.
    pub(crate) fn text(&self, now: Gauges) -> String {
        let mut text = String::new();
        let gauges = [
            ("connections", "Connections of devices.", now.connections),
            ("devices_online", "Devices that are logged in.", now.online),
            ("rooms", "Rooms that a device is in.", now.rooms),
            ("invites_open", "Open invites.", now.invites),
            ("ready", "Whether new devices are welcome.", usize::from(now.is_ready)),
            ("bus_connected", "Whether other servers can be reached.", usize::from(now.is_linked)),
        ];
        for (name, help, value) in gauges {
            metric(&mut text, name, "gauge", help);
            let _ = writeln!(text, "kith_signal_{name} {value}");
        }
        let counters: [(&str, &str, Series<'_>); 9] = [
            ("connections_accepted_total", "Connections that were served.", &[("", &self.connections)]),
            (
                "connections_refused_total",
                "Connections that were closed before a login.",
                &[
                    ("{reason=\"full\"}", &self.refused_full),
                    ("{reason=\"address_present\"}", &self.refused_address_present),
                    ("{reason=\"address_often\"}", &self.refused_address_often),
                    ("{reason=\"handshake\"}", &self.refused_handshake),
                ],
            ),
            (
                "logins_total",
                "Logins.",
                &[("{result=\"welcome\"}", &self.logins), ("{result=\"refused\"}", &self.logins_refused)],
            ),
            ("messages_total", "Messages from devices.", &[("", &self.messages)]),
            ("relayed_total", "Payloads that were passed on.", &[("", &self.relayed)]),
            ("undelivered_total", "Payloads that went nowhere.", &[("", &self.undelivered)]),
            ("overflows_total", "Connections that read too slowly.", &[("", &self.overflows)]),
            ("throttled_total", "Times that a connection was over its rate.", &[("", &self.throttled)]),
            ("bus_refused_total", "Messages on the bus that do not open.", &[("", &self.bus_refused)]),
        ];
        for (name, help, series) in counters {
            metric(&mut text, name, "counter", help);
            for (labels, counter) in series {
                let _ = writeln!(text, "kith_signal_{name}{labels} {}", counter.0.load(Ordering::Relaxed));
            }
        }
        text
    }
}

/// Writing to a string does not fail.
fn metric(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP kith_signal_{name} {help}\n# TYPE kith_signal_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_a_help_and_a_type_and_its_count() {
        let metrics = Metrics::default();
        metrics.relayed.add();
        metrics.relayed.add();
        let text =
            metrics.text(Gauges { connections: 3, online: 2, rooms: 0, invites: 1, is_ready: true, is_linked: false });
        assert!(text.contains("# TYPE kith_signal_relayed_total counter\nkith_signal_relayed_total 2\n"), "{text}");
        assert!(text.contains("# TYPE kith_signal_ready gauge\nkith_signal_ready 1\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")), "{line}");
        }
    }
}
