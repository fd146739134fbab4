//! The other side is a stranger: it breaks the protocol, writes nonsense, or vanishes.

use std::sync::Arc;

use bytes::BytesMut;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, RTCConfigurationBuilder, RTCIceCandidateInit, RTCSessionDescription,
    SettingEngineBuilder,
};

use super::*;
use crate::link::MESSAGE_BYTES_MAX;
use crate::link::callbacks::{self, Happening};
use crate::link::runtime::{SettlingRuntime, Tasks, Traffic};

/// A peer that does as it likes.
struct Stranger {
    peer: Arc<dyn PeerConnection>,
    happenings: mpsc::Receiver<Happening>,
    tasks: Tasks,
    /// What the link opened.
    opened: Vec<Arc<dyn DataChannel>>,
}

impl Stranger {
    async fn new() -> Stranger {
        let (reporter, happenings) = callbacks::channel();
        let runtime = SettlingRuntime::new(Traffic::default(), reporter.clone());
        let tasks = runtime.tasks();
        let settings =
            SettingEngineBuilder::new().with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled).build();
        let peer = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_setting_engine(settings)
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .with_runtime(Arc::new(runtime))
            .with_handler(Arc::new(reporter))
            .build()
            .await
            .unwrap();
        Stranger { peer: Arc::new(peer), happenings, tasks, opened: Vec::new() }
    }

    async fn channel(&self, label: &str, init: RTCDataChannelInit) -> Arc<dyn DataChannel> {
        self.peer.create_data_channel(label, Some(init)).await.unwrap()
    }

    /// Offers to a link and passes words on; the returned future ends with the link's next report
    /// that is not one.
    async fn meet(&mut self, side: &mut Side) -> LinkReport {
        let offer = self.peer.create_offer(None).await.unwrap();
        self.peer.set_local_description(offer.clone()).await.unwrap();
        side.links.negotiate(LINK, Negotiation::Offer(offer.sdp));
        self.pass_on(side).await
    }

    async fn pass_on(&mut self, side: &mut Side) -> LinkReport {
        loop {
            let words = tokio::select! {
                report = side.report() => match report {
                    LinkReport::Event(LinkEvent::Local(words)) => words,
                    report => return report,
                },
                happening = self.happenings.recv() => {
                    match happening.unwrap() {
                        Happening::Candidate { line, .. } => side.links.negotiate(LINK, Negotiation::Candidate(line)),
                        Happening::EndOfCandidates => side.links.negotiate(LINK, Negotiation::Candidate(String::new())),
                        Happening::Channel(channel) => self.opened.push(channel),
                        _ => {}
                    }
                    continue;
                }
            };
            match words {
                Negotiation::Answer(sdp) => {
                    let answer = RTCSessionDescription::answer(sdp).unwrap();
                    self.peer.set_remote_description(answer).await.unwrap();
                }
                Negotiation::Candidate(candidate) => {
                    let init = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
                    self.peer.add_ice_candidate(init).await.unwrap();
                }
                Negotiation::Offer(_) => panic!("an answerer offered"),
            }
        }
    }
}

fn reliable() -> RTCDataChannelInit {
    RTCDataChannelInit { ordered: true, ..RTCDataChannelInit::default() }
}

async fn wait_for(channel: &dyn DataChannel, wanted: fn(&DataChannelEvent) -> bool) {
    let wait = async {
        while let Some(event) = channel.poll().await {
            if wanted(&event) {
                return;
            }
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// A stranger that is up with a link, and its channel.
async fn met() -> (Stranger, Arc<dyn DataChannel>, Side) {
    let mut side = Side::open(LinkRole::Answerer);
    let mut stranger = Stranger::new().await;
    let channel = stranger.channel("kith", reliable()).await;
    up_of(stranger.meet(&mut side).await);
    wait_for(channel.as_ref(), |event| matches!(event, DataChannelEvent::OnOpen)).await;
    (stranger, channel, side)
}

#[tokio::test]
async fn a_channel_that_is_not_the_protocols_is_refused() {
    let unordered = RTCDataChannelInit { ordered: false, ..reliable() };
    for (label, init) in [("chat", reliable()), ("", reliable()), ("Kith", reliable()), ("kith", unordered)] {
        let mut side = Side::open(LinkRole::Answerer);
        let mut stranger = Stranger::new().await;
        let wrong = stranger.channel(label, init).await;
        let channel = stranger.channel("kith", reliable()).await;
        // The right one is welcome beside a wrong one.
        up_of(stranger.meet(&mut side).await);
        wait_for(wrong.as_ref(), |event| matches!(event, DataChannelEvent::OnClose)).await;
        wait_for(channel.as_ref(), |event| matches!(event, DataChannelEvent::OnOpen)).await;
        channel.send(BytesMut::from(&b"hello"[..])).await.unwrap();
        assert_eq!(side.happening().await, LinkReport::Frame(b"hello".to_vec()));
    }
}

#[tokio::test]
async fn a_second_channel_is_refused_and_the_first_lives_on() {
    let (stranger, first, mut side) = met().await;
    let second = stranger.channel("kith", reliable()).await;
    wait_for(second.as_ref(), |event| matches!(event, DataChannelEvent::OnClose)).await;
    first.send(BytesMut::from(&b"still here"[..])).await.unwrap();
    assert_eq!(side.happening().await, LinkReport::Frame(b"still here".to_vec()));
}

#[tokio::test]
async fn one_who_keeps_opening_channels_is_left() {
    let (stranger, _first, mut side) = met().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(stranger.channel("more", reliable()).await);
    }
    assert!(side.broken().await.contains("keeps opening channels"));
}

#[tokio::test]
async fn an_offerer_takes_no_channel_of_the_other_side() {
    let mut side = Side::open(LinkRole::Offerer);
    let mut stranger = Stranger::new().await;
    let offer = RTCSessionDescription::offer(side.offer().await).unwrap();
    stranger.peer.set_remote_description(offer).await.unwrap();
    let foreign = stranger.channel("kith", reliable()).await;
    let answer = stranger.peer.create_answer(None).await.unwrap();
    stranger.peer.set_local_description(answer.clone()).await.unwrap();
    side.links.negotiate(LINK, Negotiation::Answer(answer.sdp));
    let up = stranger.pass_on(&mut side).await;
    up_of(up);
    wait_for(foreign.as_ref(), |event| matches!(event, DataChannelEvent::OnClose)).await;
    side.links.transmit(LINK, b"on the own channel".to_vec());
    let own = stranger.opened.pop().unwrap();
    assert_eq!(own.label().await.unwrap(), "kith");
    wait_for(own.as_ref(), |event| matches!(event, DataChannelEvent::OnMessage(_))).await;
}

#[tokio::test]
async fn text_and_messages_too_long_end_the_link() {
    let (_stranger, channel, mut side) = met().await;
    channel.send_text("hello").await.unwrap();
    assert!(side.broken().await.contains("text"));

    let (_stranger, channel, mut side) = met().await;
    channel.send(BytesMut::from(&vec![7; MESSAGE_BYTES_MAX][..])).await.unwrap();
    assert_eq!(side.happening().await, LinkReport::Frame(vec![7; MESSAGE_BYTES_MAX]));
    channel.send(BytesMut::from(&vec![7; MESSAGE_BYTES_MAX + 1][..])).await.unwrap();
    assert_eq!(side.broken().await, "the other side sent 16385 bytes in one message; the most is 16384");
}

#[tokio::test]
async fn one_who_vanishes_is_missed_after_two_seconds_and_given_up_after_seven() {
    let (stranger, _channel, mut side) = met().await;
    let since = tokio::time::Instant::now();
    stranger.tasks.abort();
    while side.report().await != LinkReport::Event(LinkEvent::Silent) {}
    let took = since.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_eq!(side.down().await, "the other side cannot be reached any more");
    let took = since.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn garbage_instead_of_a_description_brings_the_link_down() {
    let data = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    for garbage in ["", "garbage", "v=0\r\n", "\0\r\n\u{10ffff}", "m=application 9 x y", data] {
        let mut side = Side::open(LinkRole::Answerer);
        side.links.negotiate(LINK, Negotiation::Offer(garbage.to_owned()));
        assert_eq!(side.broken().await, "the other side's description of the connection cannot be read", "{garbage:?}");

        let mut side = Side::open(LinkRole::Offerer);
        side.links.negotiate(LINK, Negotiation::Answer(garbage.to_owned()));
        assert_eq!(side.broken().await, "the other side's description of the connection cannot be read", "{garbage:?}");
    }
}

#[tokio::test]
async fn a_description_out_of_its_place_brings_the_link_down() {
    let offer = Side::open(LinkRole::Offerer).offer().await;
    let out_of_place = "the other side sent a description of the connection out of its place";
    let answer_to_an_answerer = (LinkRole::Answerer, vec![Negotiation::Answer(offer.clone())]);
    let two_offers = (LinkRole::Answerer, vec![Negotiation::Offer(offer.clone()), Negotiation::Offer(offer.clone())]);
    let offer_to_an_offerer = (LinkRole::Offerer, vec![Negotiation::Offer(offer)]);
    for (role, words) in [answer_to_an_answerer, two_offers, offer_to_an_offerer] {
        let mut side = Side::open(role);
        for words in words {
            side.links.negotiate(LINK, words);
        }
        assert_eq!(side.broken().await, out_of_place);
    }
}

#[tokio::test]
async fn mutilated_descriptions_are_answered_or_refused_but_never_crash() {
    let offer = Side::open(LinkRole::Offerer).offer().await;
    let lines: Vec<&str> = offer.lines().collect();
    let mut mutilated: Vec<String> = Vec::new();
    for at in 0..lines.len() {
        let (before, after) = (&lines[..at], &lines[at + 1..]);
        let key = lines[at].split_once([':', '=']).map_or(lines[at], |(key, _)| key);
        let huge = lines[at].replace(|c: char| c.is_ascii_digit(), "99999999999");
        let replacements =
            [vec![], vec![lines[at]; 2], vec![key], vec![huge.as_str()], vec![&lines[at][..lines[at].len() / 2]]];
        for replacement in replacements {
            mutilated.push([before, &replacement, after].concat().join("\r\n") + "\r\n");
        }
        mutilated.push(before.join("\r\n"));
    }
    for offer in mutilated {
        let mut side = Side::open(LinkRole::Answerer);
        side.links.negotiate(LINK, Negotiation::Offer(offer.clone()));
        match side.report().await {
            LinkReport::Event(LinkEvent::Local(Negotiation::Answer(_)) | LinkEvent::Broken(_) | LinkEvent::Down(_)) => {
            }
            other => panic!("{other:?} to {offer}"),
        }
    }
}

#[tokio::test]
async fn malformed_candidates_too_many_and_early_ones_do_no_harm() {
    let mut pair = Pair::open(&Ice::default(), false);
    for line in ["nonsense", "candidate:1 1 tcp 1 127.0.0.1 22 typ host tcptype passive", "candidate:", "\0"] {
        pair.offerer.links.negotiate(LINK, Negotiation::Candidate(line.to_owned()));
        pair.answerer.links.negotiate(LINK, Negotiation::Candidate(line.to_owned()));
    }
    for port in 1..=30 {
        let line = format!("candidate:1 1 udp 1 192.0.2.1 {port} typ host");
        pair.answerer.links.negotiate(LINK, Negotiation::Candidate(line));
    }
    pair.up().await;
    for port in 1..=30 {
        let line = format!("candidate:2 1 udp 1 192.0.2.2 {port} typ relay");
        pair.answerer.links.negotiate(LINK, Negotiation::Candidate(line));
    }
    pair.offerer.links.transmit(LINK, vec![1]);
    assert_eq!(pair.next().await, (Who::Answerer, LinkReport::Frame(vec![1])));
}

#[tokio::test]
async fn a_flood_of_words_brings_the_link_down() {
    let mut side = Side::open(LinkRole::Answerer);
    for _ in 0..100 {
        side.links.negotiate(LINK, Negotiation::Candidate(String::new()));
    }
    assert!(side.broken().await.contains("more negotiation"));
}
